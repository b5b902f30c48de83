//! Who opted out and was erased is known again by the suppression list, whichever way they come back.

use domain::contact::SUPPRESSION_SOURCE;
use domain::message::{MessageStatus, SkipReason};

use super::sending::greeting;
use super::*;
use crate::application::contacts::RecordConsent;

const NUMBER: &str = "+4915198765432";

impl World {
    /// Somebody who is known by these opted out, and was erased.
    async fn suppress(&self, person: AddContact) {
        let contact = contacts::add(&self.gateway, &self.admin, person).await.unwrap().value;
        let word = RecordConsent {
            contact_id: contact.id.to_string(),
            status: ConsentStatus::OptedOut,
            category: None,
            source: "call".to_owned(),
            evidence: None,
            occurred_at: None,
        };
        contacts::record_consent(&self.gateway, &self.admin, word).await.unwrap();
        let (id, reason) = (contact.id.to_string(), "asked".to_owned());
        contacts::erase(&self.gateway, &self.admin, &id, reason).await.unwrap();
    }

    async fn upsert(&self, input: AddContact) -> ContactView {
        contacts::upsert(&self.gateway, &self.admin, input).await.unwrap().value
    }
}

fn is_suppressed(contact: &ContactView) -> bool {
    contact.consent.status == ConsentStatus::OptedOut
        && contact.consent.source.as_deref() == Some(SUPPRESSION_SOURCE)
}

fn phone(number: &str) -> Option<String> {
    Some(number.to_owned())
}

#[tokio::test]
async fn a_known_person_who_gets_a_suppressed_number_or_id_has_opted_out() {
    let world = World::new().await;
    let user = Some("DE.72044188390155266".to_owned());
    world
        .suppress(AddContact {
            phone_number: phone(NUMBER),
            user_id: user.clone(),
            ..world.person()
        })
        .await;
    let known = |id: &str| AddContact { external_id: phone(id), ..opted_in(world.person()) };
    for (id, given) in [
        ("crm-1", AddContact { phone_number: phone(NUMBER), ..known("crm-1") }),
        ("crm-2", AddContact { user_id: user, ..known("crm-2") }),
    ] {
        let before = world.upsert(known(id)).await;
        assert_eq!(before.consent.status, ConsentStatus::OptedIn);
        let after = world.upsert(given).await;
        assert_eq!(after.id, before.id);
        assert!(is_suppressed(&after), "{id}: {:?}", after.consent);
    }
}

#[tokio::test]
async fn both_forms_of_a_number_are_suppressed() {
    let world = World::new().await;
    world.suppress(AddContact { phone_number: phone("+5551998765432"), ..world.person() }).await;
    let other_form =
        AddContact { phone_number: phone("+555198765432"), ..opted_in(world.person()) };
    assert!(is_suppressed(&world.upsert(other_form).await));
}

#[tokio::test]
async fn a_send_to_a_suppressed_number_is_skipped() {
    let world = World::new().await;
    let account = world.account("Shop").await;
    world.template(&account, TemplateCategory::Utility).await;
    world.suppress(AddContact { phone_number: phone(NUMBER), ..world.person() }).await;
    let sent = messages::send(&world.gateway, &world.admin, greeting(&account, NUMBER));
    let sent = sent.await.unwrap().value;
    assert_eq!(
        (sent.status, sent.skip_reason),
        (MessageStatus::Skipped, Some(SkipReason::OptedOut))
    );
}

#[tokio::test]
async fn who_opted_in_again_stays_so_when_two_contacts_of_theirs_become_one() {
    let world = World::new().await;
    world.suppress(AddContact { phone_number: phone(NUMBER), ..world.person() }).await;
    let half = world.contact(NUMBER).await;
    assert!(is_suppressed(&half));
    let word = RecordConsent {
        contact_id: half.id.to_string(),
        status: ConsentStatus::OptedIn,
        category: None,
        source: "a form".to_owned(),
        evidence: None,
        occurred_at: None,
    };
    contacts::record_consent(&world.gateway, &world.admin, word).await.unwrap();
    let keep = AddContact { external_id: Some("crm-1".to_owned()), ..opted_in(world.person()) };
    let keep = world.upsert(keep).await;
    let (keep, half) = (keep.id.to_string(), half.id.to_string());
    let whole = contacts::merge(&world.gateway, &world.admin, &keep, &half).await.unwrap().value;
    assert_eq!(whole.phone_number.as_deref(), Some(NUMBER));
    assert_eq!(whole.consent.status, ConsentStatus::OptedIn);
}
