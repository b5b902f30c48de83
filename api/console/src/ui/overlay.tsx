//! What opens over a screen: dialogs, confirmations, menus.
import { useState, type ReactNode } from "react";
import { Dialog as AriaDialog, Heading, Menu, MenuItem, MenuTrigger, Modal, ModalOverlay, Popover } from "react-aria-components";
import { t } from "~/i18n";
import type { Problem } from "~/lib/errors";
import { TextInput } from "./fields";
import { Button, Failure } from "./parts";

/** `stays`: shows what is shown once, and is closed by its button alone. */
export function Dialog({ title, isOpen, onClose, wide, stays = false, children, role }: {
  title: string; isOpen: boolean; onClose: () => void; wide?: boolean; stays?: boolean; children: ReactNode; role?: "alertdialog";
}) {
  return (
    <ModalOverlay className="scrim" isOpen={isOpen} onOpenChange={(open) => !open && onClose()} isDismissable={!stays} isKeyboardDismissDisabled={stays}>
      <Modal className={wide ? "dialog wide" : "dialog"}>
        <AriaDialog role={role}>
          <Heading slot="title" level={2}>{title}</Heading>
          {children}
        </AriaDialog>
      </Modal>
    </ModalOverlay>
  );
}

export interface Confirmation {
  title: string;
  body: ReactNode;
  action: string;
  danger?: boolean;
  /** Asks for a reason, which is put on record. */
  reason?: string;
  /** Has to be typed before the button works. */
  typed?: string;
  run: (reason: string) => Promise<unknown>;
}

/** `confirm(…)` opens it; a failure stays inside until somebody has read it. */
export function useConfirm(problem: Problem | null, isBusy: boolean): [ReactNode, (confirmation: Confirmation) => void] {
  const [open, setOpen] = useState<Confirmation | null>(null);
  const [reason, setReason] = useState("");
  const [typed, setTyped] = useState("");
  // What failed before this dialog was opened is none of its business.
  const [before, setBefore] = useState<Problem | null>(null);
  const close = () => { setOpen(null); setReason(""); setTyped(""); };
  const element = open && (
    <Dialog title={open.title} isOpen onClose={close} role="alertdialog">
      <div className="stack tight">{open.body}</div>
      {open.reason && <TextInput label={open.reason} value={reason} onChange={setReason} autoFocus />}
      {open.typed && <TextInput label={t("common.typeToConfirm", { text: open.typed })} value={typed} onChange={setTyped} autoFocus />}
      <Failure problem={problem === before ? null : problem} />
      <div className="row end">
        <Button onPress={close}>{t("common.cancel")}</Button>
        <Button look={open.danger ? "danger" : "primary"} busy={isBusy}
          isDisabled={(!!open.reason && !reason.trim()) || (!!open.typed && typed.trim() !== open.typed)}
          onPress={() => void open.run(reason.trim()).then((done) => done !== null && close())}>{open.action}</Button>
      </div>
    </Dialog>
  );
  return [element, (confirmation) => {
    setBefore(problem);
    setOpen(confirmation);
  }];
}

export function More({ label, items }: { label: string; items: { label: string; danger?: boolean; run: () => void }[] }) {
  if (items.length === 0) return null;
  return (
    <MenuTrigger>
      <Button icon="more" aria-label={label} />
      <Popover className="popover" placement="bottom end">
        <Menu>
          {items.map((item) => (
            <MenuItem key={item.label} className={item.danger ? "option danger" : "option"} onAction={item.run}>{item.label}</MenuItem>
          ))}
        </Menu>
      </Popover>
    </MenuTrigger>
  );
}
