//! Who is asking, and what they may do. What somebody may not do is not offered to them; the gateway refuses it anyway.
import { createContext, useContext } from "react";
import type { Scope, ViewerQuery } from "~/gen/graphql";

export const ViewerContext = createContext<ViewerQuery | null>(null);

export function useViewer() {
  const answer = useContext(ViewerContext);
  if (!answer) throw new Error("useViewer outside of the shell");
  const { viewer, workspaces } = answer;
  return {
    viewer,
    workspaces,
    can: (scope: Scope) => viewer.scopes.includes(scope) || viewer.scopes.includes("ADMIN"),
  };
}
