//! Every address of the console. Filters are part of it, so that what one person sees can be sent to another.
import { createRootRoute, createRoute, createRouter, lazyRouteComponent, redirect } from "@tanstack/react-router";
import { HomeScreen } from "~/screens/home";
import { Crash, NotFound, Shell } from "~/shell";

const strings = <K extends string>(...keys: K[]) => (raw: Record<string, unknown>): { [P in K]?: string } => {
  const found: { [P in K]?: string } = {};
  for (const key of keys) {
    const value = raw[key];
    if ((typeof value === "string" && value) || typeof value === "number") found[key] = String(value);
  }
  return found;
};

const root = createRootRoute({ component: Shell, errorComponent: Crash, notFoundComponent: NotFound });
const getParentRoute = () => root;

const home = createRoute({ getParentRoute, path: "/", component: HomeScreen });

const accounts = createRoute({ getParentRoute, path: "/numbers", component: lazyRouteComponent(() => import("~/screens/accounts"), "AccountsScreen") });
const connect = createRoute({ getParentRoute, path: "/numbers/connect", component: lazyRouteComponent(() => import("~/screens/connect"), "ConnectScreen") });
const account = createRoute({ getParentRoute, path: "/numbers/$id", component: lazyRouteComponent(() => import("~/screens/account"), "AccountScreen"), validateSearch: strings("tab") });

const templates = createRoute({ getParentRoute, path: "/templates", component: lazyRouteComponent(() => import("~/screens/templates"), "TemplatesScreen"), validateSearch: strings("q", "status", "account") });
const newTemplate = createRoute({ getParentRoute, path: "/templates/new", component: lazyRouteComponent(() => import("~/screens/template"), "NewTemplateScreen") });
const template = createRoute({ getParentRoute, path: "/templates/$id", component: lazyRouteComponent(() => import("~/screens/template"), "TemplateScreen") });

const contacts = createRoute({ getParentRoute, path: "/contacts", component: lazyRouteComponent(() => import("~/screens/contacts"), "ContactsScreen"), validateSearch: strings("q", "tag", "consent", "segment") });
const importContacts = createRoute({ getParentRoute, path: "/contacts/import", component: lazyRouteComponent(() => import("~/screens/import"), "ImportScreen") });
const imports = createRoute({ getParentRoute, path: "/contacts/imports", component: lazyRouteComponent(() => import("~/screens/imports"), "ImportsScreen") });
const importResult = createRoute({ getParentRoute, path: "/contacts/imports/$id", component: lazyRouteComponent(() => import("~/screens/import"), "ImportResultScreen") });
const contact = createRoute({ getParentRoute, path: "/contacts/$id", component: lazyRouteComponent(() => import("~/screens/contact"), "ContactScreen"), validateSearch: strings("asOf") });

const segments = createRoute({ getParentRoute, path: "/segments", component: lazyRouteComponent(() => import("~/screens/segments"), "SegmentsScreen") });
const newSegment = createRoute({ getParentRoute, path: "/segments/new", component: lazyRouteComponent(() => import("~/screens/segments"), "NewSegmentScreen") });
const segment = createRoute({ getParentRoute, path: "/segments/$id", component: lazyRouteComponent(() => import("~/screens/segments"), "SegmentScreen"), validateSearch: strings("tab") });

const campaigns = createRoute({ getParentRoute, path: "/campaigns", component: lazyRouteComponent(() => import("~/screens/campaigns"), "CampaignsScreen"), validateSearch: strings("q", "status", "account") });
const campaign = createRoute({ getParentRoute, path: "/campaigns/$id", component: lazyRouteComponent(() => import("~/screens/campaign"), "CampaignScreen"), validateSearch: strings("asOf", "recipients", "tab") });
const editCampaign = createRoute({
  getParentRoute,
  path: "/campaigns/$id/edit",
  beforeLoad: ({ params: { id }, location }) => {
    if (/\/edit\/?$/.test(location.pathname)) throw redirect({ to: "/campaigns/$id/edit/$step", params: { id, step: "audience" } });
  },
});
const editStep = createRoute({ getParentRoute, path: "/campaigns/$id/edit/$step", component: lazyRouteComponent(() => import("~/screens/wizard"), "WizardScreen") });

const messages = createRoute({ getParentRoute, path: "/messages", component: lazyRouteComponent(() => import("~/screens/messages"), "MessagesScreen"), validateSearch: strings("status", "direction", "account", "number") });
const message = createRoute({ getParentRoute, path: "/messages/$id", component: lazyRouteComponent(() => import("~/screens/message"), "MessageScreen"), validateSearch: strings("asOf") });

const inbox = createRoute({ getParentRoute, path: "/inbox", component: lazyRouteComponent(() => import("~/screens/inbox"), "InboxScreen"), validateSearch: strings("number", "unread", "mine", "q", "person") });
// The list stays where it is while one conversation after the other is opened beside it.
const conversation = createRoute({ getParentRoute: () => inbox, path: "/$id" });

const settings = createRoute({ getParentRoute, path: "/settings", component: lazyRouteComponent(() => import("~/screens/settings"), "SettingsScreen") });
const browser = createRoute({ getParentRoute, path: "/settings/browser", component: lazyRouteComponent(() => import("~/screens/settings"), "BrowserScreen") });
const prices = createRoute({ getParentRoute, path: "/settings/prices", component: lazyRouteComponent(() => import("~/screens/settings"), "PricesScreen") });
const people = createRoute({ getParentRoute, path: "/settings/people", component: lazyRouteComponent(() => import("~/screens/people"), "PeopleScreen") });
const signIn = createRoute({ getParentRoute, path: "/settings/sign-in", component: lazyRouteComponent(() => import("~/screens/sign-in"), "SignInScreen") });
const keys = createRoute({ getParentRoute, path: "/settings/keys", component: lazyRouteComponent(() => import("~/screens/developers"), "KeysScreen") });
const webhooks = createRoute({ getParentRoute, path: "/settings/webhooks", component: lazyRouteComponent(() => import("~/screens/webhooks"), "WebhooksScreen") });
const webhook = createRoute({ getParentRoute, path: "/settings/webhooks/$id", component: lazyRouteComponent(() => import("~/screens/webhooks"), "WebhookScreen"), validateSearch: strings("failed") });
const events = createRoute({ getParentRoute, path: "/settings/events", component: lazyRouteComponent(() => import("~/screens/events"), "EventsScreen"), validateSearch: strings("type", "kind", "id", "correlation", "since", "view") });
const system = createRoute({ getParentRoute, path: "/settings/system", component: lazyRouteComponent(() => import("~/screens/settings"), "SystemScreen") });

const setup = createRoute({ getParentRoute, path: "/setup", component: lazyRouteComponent(() => import("~/screens/welcome"), "SetupScreen") });
const join = createRoute({ getParentRoute, path: "/join", component: lazyRouteComponent(() => import("~/screens/welcome"), "JoinScreen") });
const newPassword = createRoute({ getParentRoute, path: "/new-password", component: lazyRouteComponent(() => import("~/screens/welcome"), "NewPasswordScreen") });

const routeTree = root.addChildren([
  home, accounts, connect, account, templates, newTemplate, template, contacts, importContacts, imports, importResult, contact, segments, newSegment, segment,
  campaigns, campaign, editCampaign, editStep, messages, message, settings, people, signIn, browser, prices, keys, webhooks, webhook, events, system,
  setup, join, newPassword, inbox.addChildren([conversation]),
]);

export const router = createRouter({
  routeTree,
  basepath: import.meta.env.BASE_URL.replace(/\/$/, "") || "/",
  defaultPreload: "intent",
  scrollRestoration: true,
  defaultErrorComponent: Crash,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
