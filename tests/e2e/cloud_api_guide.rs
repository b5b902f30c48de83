//! The examples of `docs/cloud-api.md`, run in their order as a newcomer would, against a demo.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use gateway_tests::{Client, PATIENCE, eventually, executable, free_port};
use serde_json::{Value, json};
use tokio::process::Command;

const GUIDE: &str = include_str!("../../docs/cloud-api.md");
/// What the guide writes where it runs the gateway, and where that listens.
const PROGRAM: &str = "target/debug/whatsapp-gateway";
const ADDRESS: &str = "127.0.0.1:8080";
/// Some of the people whom the demo brings in.
const PEOPLE: [&str; 5] =
    ["447700900000", "447700900001", "447700900002", "447700900003", "447700900004"];
/// Stands for what differs each time.
const ANY: char = '…';

/// A block of the guide in its fence.
#[derive(Clone)]
struct Block {
    language: &'static str,
    text: String,
}

fn blocks() -> Vec<Block> {
    let mut blocks: Vec<Block> = vec![];
    let mut is_open = false;
    for line in GUIDE.lines() {
        match line.strip_prefix("```") {
            Some(language) if !is_open => {
                blocks.push(Block { language, text: String::new() });
                is_open = true;
            }
            Some(_) => is_open = false,
            None if is_open => {
                let block = blocks.last_mut().expect("one is open");
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    blocks
}

/// Whether a text is the guide's, where [`ANY`] is anything.
fn is_meant(expected: &str, found: &str) -> bool {
    let Some((before, after)) = expected.split_once(ANY) else { return expected == found };
    found.strip_prefix(before).is_some_and(|rest| {
        let mut starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
        starts.any(|at| is_meant(after, &rest[at..]))
    })
}

fn is_json_meant(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::String(expected), Value::String(found)) => is_meant(expected, found),
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len()
                && expected
                    .iter()
                    .zip(found)
                    .all(|(expected, found)| is_json_meant(expected, found))
        }
        (Value::Object(expected), Value::Object(found)) => {
            expected.len() == found.len()
                && expected.iter().all(|(name, expected)| {
                    found.get(name).is_some_and(|found| is_json_meant(expected, found))
                })
        }
        (expected, found) => expected == found,
    }
}

/// A demo in a directory of its own, with a configuration directory of its own, left running.
struct Demo {
    dir: tempfile::TempDir,
    address: String,
    client: Client,
    _child: tokio::process::Child,
}

impl Demo {
    /// By the guide's own command.
    async fn start(command: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let address = format!("127.0.0.1:{}", free_port());
        let mut words = command.split_whitespace();
        assert_eq!(words.next(), Some(PROGRAM));
        let story = dir.path().join("story");
        let child = command_in(dir.path(), &executable())
            .args(words)
            .args(["--listen", &address])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&story).expect("a file"))
            .spawn()
            .expect("the gateway starts");
        eventually("the demo is over and the gateway goes on", || async {
            let told = std::fs::read_to_string(&story).unwrap_or_default();
            told.contains("The gateway goes on").then_some(())
        })
        .await;
        let key = std::fs::read_to_string(dir.path().join("data/bootstrap-key")).expect("a key");
        let client = Client::new(format!("http://{address}")).with_key(key.trim());
        Self { dir, address, client, _child: child }
    }

    /// The demo has people with bad luck: those of the guide are to have none.
    async fn lucky_people(&self) -> Vec<String> {
        let number = self.client.ask("{ accounts { nodes { phoneNumberId } } }", json!({})).await;
        let number = number["accounts"]["nodes"][0]["phoneNumberId"].as_str().expect("a number");
        let url = format!("{}/_sandbox/behaviour?phoneNumberId={number}", self.client.base);
        let deleted = self.client.http().delete(url).bearer_auth(&self.client.key).send().await;
        assert!(deleted.expect("it answers").status().is_success());
        let query = "{ messages(filter: { status: [DELIVERED, READ] }) { nodes { to } } }";
        let reached = self.client.ask(query, json!({})).await;
        let reached = reached["messages"]["nodes"].as_array().expect("messages");
        let numbers = reached.iter().filter_map(|message| message["to"].as_str());
        let people: Vec<String> = numbers
            .map(|number| number.trim_start_matches('+').to_owned())
            .take(PEOPLE.len())
            .collect();
        assert_eq!(people.len(), PEOPLE.len(), "the demo reached nobody");
        people
    }
}

fn command_in(dir: &Path, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).env("HOME", dir).env("XDG_CONFIG_HOME", dir).env_remove("RUST_LOG");
    command.kill_on_drop(true);
    command
}

/// One program of all blocks; what block n writes comes into `out-n`.
fn program(blocks: &[Block]) -> String {
    let mut program = String::from("set -euo pipefail\n");
    for (index, Block { language, text }) in blocks.iter().enumerate() {
        let run = match *language {
            "sh" => text.clone(),
            "python" => format!("cat > example.py <<'PYTHON'\n{text}PYTHON\npython3 example.py\n"),
            _ => continue,
        };
        writeln!(program, "echo 'block {index}' >&2\n{{\n{run}}} > out-{index}").expect("a string");
        if text.contains("/_sandbox/inbound") {
            // People take longer to type than a webhook to arrive.
            program.push_str(
                "until gw events --type message.received | grep -q wamid; do sleep 0.1; done\n",
            );
        }
    }
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_examples_answer_what_the_guide_says() {
    if std::env::var_os("TEST_CLIENTS").is_none() {
        eprintln!(
            "LEFT OUT: the guide needs pywa; .ci/install.sh installs it, TEST_CLIENTS says so"
        );
        return;
    }
    let blocks = blocks();
    let (first, rest) = blocks.split_first().expect("the guide has examples");
    let demo = Demo::start(&first.text).await;
    let people = demo.lucky_people().await;
    let executable = executable().display().to_string();
    let local = |text: &str| {
        let mut text = text.replace(PROGRAM, &executable).replace(ADDRESS, &demo.address);
        // In two steps, since the one may be the other.
        for (index, person) in PEOPLE.into_iter().enumerate() {
            text = text.replace(person, &format!("<person {index}>"));
        }
        for (index, person) in people.iter().enumerate() {
            text = text.replace(&format!("<person {index}>"), person);
        }
        text
    };
    let blocks: Vec<Block> =
        rest.iter().map(|block| Block { text: local(&block.text), ..block.clone() }).collect();
    let script: PathBuf = demo.dir.path().join("guide.sh");
    std::fs::write(&script, program(&blocks)).expect("a file");
    let run = command_in(demo.dir.path(), Path::new("bash")).arg(&script).output();
    let run = tokio::time::timeout(PATIENCE, run).await.expect("it ends").expect("bash runs");
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{told}");
    let mut compared = 0;
    for (index, pair) in blocks.windows(2).enumerate() {
        let [asked, expected] = pair else { continue };
        if !["sh", "python"].contains(&asked.language) {
            continue;
        }
        let found = std::fs::read_to_string(demo.dir.path().join(format!("out-{index}")))
            .expect("what it wrote");
        let is_as_told = match expected.language {
            "json" => {
                let expected: Value =
                    serde_json::from_str(&expected.text).expect("the guide's JSON");
                serde_json::from_str(&found).is_ok_and(|found| is_json_meant(&expected, &found))
            }
            "text" => {
                let (expected, found) = (expected.text.lines(), found.lines());
                expected.clone().count() == found.clone().count()
                    && expected.zip(found).all(|(expected, found)| is_meant(expected, found))
            }
            _ => continue,
        };
        assert!(
            is_as_told,
            "{}\nthe guide says:\n{}\nand this is:\n{found}",
            asked.text, expected.text
        );
        compared += 1;
    }
    assert!(compared >= 12, "only {compared} answers of the guide were found");
}

#[test]
fn what_differs_each_time_is_all_that_may_differ() {
    for (expected, found) in [
        ("same", "same"),
        ("wamid.…", "wamid.HBg="),
        ("…/content?id=…", "a/content?id=7"),
        ("…", ""),
    ] {
        assert!(is_meant(expected, found), "{expected} {found}");
    }
    for (expected, found) in
        [("same", "same again"), ("wamid.…", "wam"), ("… is on (…)", "7 is off (8)"), ("…a", "ab")]
    {
        assert!(!is_meant(expected, found), "{expected} {found}");
    }
    let expected = json!({ "id": "…", "list": [1, null] });
    assert!(is_json_meant(&expected, &json!({ "id": "7", "list": [1, null] })));
    for found in [
        json!({ "id": "7" }),
        json!({ "id": 7, "list": [1, null] }),
        json!({ "id": "7", "list": [1] }),
        json!({ "id": "7", "list": [1, null], "more": 1 }),
    ] {
        assert!(!is_json_meant(&expected, &found), "{found}");
    }
}
