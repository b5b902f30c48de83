//! One template in one language, from draft to WhatsApp's verdict, and what a send has to fill in.

mod aggregate;
mod components;
mod event;

pub use aggregate::{Template, TemplateCommand, TemplateError, WhatsappTemplate};
pub use components::{ComponentsError, Misfit, Slot, SlotKind, TemplateComponents, clean_text};
pub use event::{Quality, TemplateCategory, TemplateEvent, TemplateStatus};
