use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;

fn reopened(path: &Path, clock: &Arc<ManualClock>) -> Sandbox {
    Sandbox::open(Options { state: Some(path.to_owned()), ..Options::new(clock.clone()) })
        .expect("opens again")
}

/// What a SIGKILL leaves: the files, and nothing that was only in memory. The handles are leaked, so that no orderly end
/// can write anything; only the lock file is freed, as the end of a process frees it.
fn copied(path: &Path, to: &Path) {
    for ending in ["", ".calls"] {
        let name = |base: &Path| std::path::PathBuf::from(format!("{}{ending}", base.display()));
        std::fs::copy(name(path), name(to)).unwrap();
    }
}

#[tokio::test]
async fn a_kill_loses_neither_calls_nor_webhooks_under_way() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("sandbox"), directory.path().join("after-kill"));
    let stage = Stage::with(Some(&path), Behaviour::default()).await;
    approved_template(&stage).await;
    stage.ada_writes();
    stage.settled().await;
    stage.behave(json!({
        "statusDelayMs": {"min": 1000, "max": 1000}, "readRate": 1.0, "errorRates": {"131026": 0.0},
    }));
    for n in 0..20 {
        stage
            .send(&format!("+4477009{n:05}"), from_template("parcel_on_the_way", &n.to_string()))
            .await;
    }
    stage.advance(1000).await;
    until("the first statuses", || stage.receiver.statuses().len() == 20).await;
    // Acknowledgements are noted just after the receiver has answered.
    until("their acknowledgements", || stage.sandbox.stats().webhooks_pending == 40).await;
    let before = stage.sandbox.stats();
    copied(&path, &copy);

    let again = reopened(&copy, &stage.clock);
    let stats = again.stats();
    assert_eq!((stats.sends, stats.counted, stats.distinct_callback_data), (20, 20, 20));
    assert_eq!(
        (stats.webhooks_sent, stats.webhooks_acked),
        (before.webhooks_sent, before.webhooks_acked)
    );
    assert_eq!(stats.per_second_peak, before.per_second_peak);
    assert_eq!(stats.webhooks_pending, 40);
    assert_eq!(again.calls(0).unwrap(), stage.sandbox.calls(0).unwrap());
    assert_eq!(again.behaviour(), stage.sandbox.behaviour());
    // The first one is stopped from delivering the same statuses.
    stage.sandbox.set_behaviour(Behaviour { webhook_outage: 1.0, ..Behaviour::default() }).unwrap();
    let seen = stage.receiver.statuses().len();
    stage.advance(5000).await;
    until("the rest", || again.stats().webhooks_pending == 0).await;
    assert_eq!(stage.receiver.statuses().len() - seen, 40);

    let again = reopened_after(again, &copy, &stage.clock).await;
    assert_eq!(again.stats().webhooks_pending, 0, "what was answered is not sent again");
    assert_eq!(again.stats().sends, 20);
}

async fn reopened_after(sandbox: Sandbox, path: &Path, clock: &Arc<ManualClock>) -> Sandbox {
    let weak = Arc::downgrade(&sandbox.0);
    drop(sandbox);
    until("the first to end", || weak.strong_count() == 0).await;
    reopened(path, clock)
}

#[tokio::test]
async fn windows_templates_limits_and_stops_survive() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sandbox");
    let stage = Stage::with(Some(&path), Behaviour::default()).await;
    approved_template(&stage).await;
    let wamid = stage.ada_writes();
    for n in 0..45 {
        assert_eq!(stage.text(ADA, &n.to_string()).await, 0);
    }
    stage.settled().await;
    let clock = stage.clock.clone();
    let receiver = {
        let sandbox = stage.sandbox.clone();
        let receiver = stage.stop().await;
        let weak = Arc::downgrade(&sandbox.0);
        drop(sandbox);
        until("the first to end", || weak.strong_count() == 0).await;
        receiver
    };
    let sandbox = reopened(&path, &clock);
    let server = Server::start("127.0.0.1:0".parse().unwrap(), sandbox.clone()).await.unwrap();
    let stage = Stage {
        sandbox,
        clock,
        receiver,
        client: delivery::client(false).unwrap(),
        server: Some(server),
    };
    assert_eq!(stage.text(ADA, "45").await, 131056, "the burst is still owed");
    let read = json!({"messaging_product":"whatsapp","status":"read","message_id":wamid});
    assert_eq!(stage.graph("POST", &format!("{NUMBER}/messages"), Some(read)).await.0, 200);
    stage.advance(3_600_000).await;
    assert_eq!(stage.text(ADA, "46").await, 0);
    stage.settled().await;
    assert_eq!(
        stage.receiver.kinds().last().map(String::as_str),
        Some("delivered"),
        "the window is open"
    );
    assert_eq!(stage.send("+447700900999", from_template("parcel_on_the_way", "t")).await, 0);
    let wamids: std::collections::HashSet<_> =
        stage.sandbox.calls(0).unwrap().into_iter().filter_map(|call| call.wamid).collect();
    assert_eq!(wamids.len(), 47, "no wamid is given twice");
}

#[tokio::test]
async fn a_state_in_use_is_refused_and_half_a_line_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sandbox");
    let clock = Arc::new(ManualClock::new(start_of_time()));
    let sandbox = reopened(&path, &clock);
    let second =
        Sandbox::open(Options { state: Some(path.clone()), ..Options::new(clock.clone()) });
    assert!(second.is_err(), "one process at a time");
    sandbox.provision(NumberSpec::new("402", "301", "t", "s")).unwrap();
    let weak = Arc::downgrade(&sandbox.0);
    drop(sandbox);
    until("the first to end", || weak.strong_count() == 0).await;
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(b"{\"t\":\"Number\",\"num");
    std::fs::write(&path, &bytes).unwrap();
    let sandbox = reopened(&path, &clock);
    assert_eq!(sandbox.is_verified("402"), Some(false));
    let weak = Arc::downgrade(&sandbox.0);
    drop(sandbox);
    until("the second to end", || weak.strong_count() == 0).await;
    std::fs::write(&path, b"something else\n").unwrap();
    assert!(Sandbox::open(Options { state: Some(path), ..Options::new(clock) }).is_err());
}

#[tokio::test]
async fn a_forgotten_person_is_in_no_file_and_the_counts_stay() {
    const NAME: &str = "Quendoline";
    const WORDS: &str = "Muschelkalk";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sandbox");
    let stage = Stage::with(Some(&path), Behaviour::default()).await;
    approved_template(&stage).await;
    let grace = "+447700900777";
    let wrote = json!({"phoneNumberId": NUMBER, "from": grace, "userId": "GB.7204418839015526601", "name": NAME,
        "type": "document", "document": {"caption": WORDS}, "data": STANDARD.encode(WORDS)});
    stage.sandbox.inbound(&wrote).expect("said");
    stage.ada_writes();
    stage.settled().await;
    stage.behave(json!({"statusDelayMs": {"min": 1000, "max": 1000}, "unreachable": ["447700900666", grace]}));
    for (to, mark) in [(grace, "first"), (ADA, "second"), ("447700900777", "third")] {
        stage.send(to, from_template("parcel_on_the_way", mark)).await;
    }
    let mut hidden = from_template("parcel_on_the_way", "hidden");
    hidden["messaging_product"] = json!("whatsapp");
    hidden["recipient"] = json!("GB.7204418839015526601");
    let (status, _) = stage.graph("POST", &format!("{NUMBER}/messages"), Some(hidden)).await;
    assert_eq!(status, 200);
    let before = stage.sandbox.stats();
    let is_on_disk = |text: &str| {
        std::fs::read_dir(directory.path())
            .unwrap()
            .flat_map(|entry| {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()).collect()
                } else {
                    vec![path]
                }
            })
            .any(|file| {
                let bytes = std::fs::read(file).unwrap();
                bytes.windows(text.len()).any(|window| window == text.as_bytes())
            })
    };
    let wamids: Vec<String> = stage
        .sandbox
        .calls(0)
        .unwrap()
        .into_iter()
        .filter(|c| c.is_send())
        .filter_map(|c| c.wamid)
        .collect();
    assert_eq!(wamids.len(), 4);
    let marks =
        ["447700900777", "GB.7204418839015526601", NAME, WORDS, &wamids[0], &wamids[2], &wamids[3]];
    for mark in marks {
        assert!(is_on_disk(mark), "{mark} was never there");
    }

    let elsewhere = BTreeSet::from(["402000000000009".to_owned()]);
    let (phones, users) = ([grace.to_owned()], ["GB.7204418839015526601".to_owned()]);
    stage.sandbox.forget_people(&elsewhere, &phones, &users).await.unwrap();
    for mark in [WORDS, &wamids[0], "447700900777"] {
        assert!(is_on_disk(mark), "an erasure elsewhere takes nothing from this number");
    }
    let here = BTreeSet::from([NUMBER.to_owned()]);
    // By the number alone: the sandbox knows that the user id is the same person's.
    stage.sandbox.forget_people(&here, &phones, &[]).await.unwrap();
    for mark in marks {
        assert!(!is_on_disk(mark), "{mark} is still there");
    }
    assert!(is_on_disk(&ADA[1..]) && is_on_disk("447700900666") && is_on_disk(&wamids[1]));
    let after = stage.sandbox.stats();
    assert_eq!((after.sends, after.counted), (before.sends, before.counted));
    assert_eq!(after.distinct_callback_data, before.distinct_callback_data);
    // Ada's statuses come, nobody else's, and not after a restart either.
    stage.settled_in_steps_of(1000).await;
    assert!(stage.receiver.statuses().iter().all(|status| status.id == wamids[1]));
    assert!(!stage.receiver.statuses().is_empty());
    let clock = stage.clock.clone();
    let sandbox = stage.sandbox.clone();
    let _receiver = stage.stop().await;
    let again = reopened_after(sandbox, &path, &clock).await;
    assert_eq!(again.stats().sends, before.sends);
    assert_eq!(
        again.calls(0).unwrap().iter().filter(|call| call.is_send() && call.to.is_none()).count(),
        3
    );
}
