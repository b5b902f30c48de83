//! What the binary refuses, how it says so, and where: results on standard output, everything else on standard error; 0 is
//! success, 1 failure, 2 wrong usage.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

use gateway_tests::{Binary, BinaryOptions, Store, StoreKind, executable, stores};
use tokio::process::Command;

/// Runs the binary to its end, in a directory of its own and with nothing of this process's configuration.
async fn run(store: &Store, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(executable());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WHATSAPP_GATEWAY")) {
        command.env_remove(name);
    }
    let home = store.dir.path();
    command
        .current_dir(home)
        .env("HOME", home)
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("RUST_LOG");
    command.envs(variables.iter().copied()).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(gateway_tests::PATIENCE, command.output()).await;
    ended.unwrap_or_else(|_| panic!("{arguments:?} does not end")).expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Refused: nothing on standard output, and standard error says all of this.
fn assert_refused(output: &Output, code: i32, says: &[&str]) {
    let shown = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{shown}");
    assert_eq!(text(&output.stdout), "", "{shown}");
    for part in says {
        assert!(shown.contains(part), "it does not say {part:?}: {shown}");
    }
    assert!(!shown.contains("panicked"), "{shown}");
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_the_key_and_what_would_be_right() {
    let store = Store::fresh(StoreKind::Sqlite).await;
    let check = |more: &'static [&'static str]| {
        let arguments: Vec<&str> =
            ["config", "check"].into_iter().chain(more.iter().copied()).collect();
        let store = &store;
        async move { run(store, &arguments, &[]).await }
    };
    for (arguments, says) in [
        (&["--set", "lisen=127.0.0.1:1"][..], &["lisen", "did you mean listen?"][..]),
        (&["--set", "store.ulr=sqlite://x.db"], &["store.ulr", "did you mean store.url?"]),
        (
            &["--set", "graphql.request_per_second=1"],
            &["did you mean graphql.requests_per_second?"],
        ),
        (&["--set", "listen"], &["KEY=VALUE"]),
        (&["--set", "listen=nowhere"], &["listen"]),
        (&["--set", "journal.retention=0"], &["journal.retention", "1 to 3,650"]),
        (&["--set", "journal.retention=soon"], &["journal.retention"]),
        (&["--set", "store.url=mysql://x"], &["store.url", "sqlite://"]),
        (&["--set", "store.url=kurrentdb://h?tlss=false"], &["store.url", "tlss"]),
        (&["--set", "graph.base_url=http://example.com"], &["graph.base_url", "https"]),
        (&["--set", "graph.version=26"], &["graph.version", "v26.0"]),
        (&["--set", "tls.cert=a.pem"], &["tls.key"]),
        (&["--set", "listen=0.0.0.0:8080"], &["listen", "tls.cert", "trusted_proxies"]),
        (&["--set", "listen=[::]:8080"], &["listen", "trusted_proxies"]),
        (&["--config", "missing.toml"], &["missing.toml"]),
    ] {
        assert_refused(&check(arguments).await, 2, says);
    }
    let output =
        run(&store, &["config", "check"], &[("WHATSAPP_GATEWAY_STORE__ULR", "sqlite://x.db")])
            .await;
    assert_refused(&output, 2, &["WHATSAPP_GATEWAY_STORE__ULR", "did you mean store.url?"]);
    let file = store.dir.path().join("gateway.toml");
    for (content, says) in [
        ("lisen = \"127.0.0.1:1\"\n", &["gateway.toml", "did you mean listen?"][..]),
        ("[store]\nulr = \"x\"\n", &["gateway.toml", "did you mean store.url?"]),
        ("listen = [\n", &["gateway.toml", "TOML"]),
    ] {
        std::fs::write(&file, content).expect("a file");
        assert_refused(&check(&["--config", "gateway.toml"]).await, 2, says);
    }
    // The server refuses the same, before it makes anything.
    let output = run(&store, &["serve", "--listen", "0.0.0.0:0"], &[]).await;
    assert_refused(&output, 2, &["trusted_proxies"]);
    assert!(!store.dir.path().join("data").exists());
    // Secrets are shown by nothing.
    let output =
        check(&["--set", "admin.bootstrap_key=wgk_canary", "--set", "secrets.master_key=canary"])
            .await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains("canary"), "{}", text(&output.stdout));
    let output = run(
        &store,
        &["serve", "--set", "secrets.master_key=canary", "--set", "listen=127.0.0.1:0"],
        &[],
    )
    .await;
    assert_refused(&output, 1, &["secrets.master_key", "64 hexadecimal digits"]);
    assert!(!text(&output.stderr).contains("canary"));
}

#[tokio::test]
async fn a_second_gateway_on_one_file_is_told_which_process_owns_it() {
    let store = Store::fresh(StoreKind::Sqlite).await;
    let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
    let settings: Vec<String> = store
        .settings()
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .chain(["listen=127.0.0.1:0".to_owned()])
        .collect();
    let mut arguments = vec!["serve"];
    settings.iter().for_each(|setting| arguments.extend(["--set", setting.as_str()]));
    let output = run(&store, &arguments, &[]).await;
    assert_refused(&output, 1, &[&format!("process {}", gateway.pid()), "gateway.db"]);
    // The first one goes on, and its way out frees the file.
    gateway.client.ask("{ viewer { id } }", serde_json::json!({})).await;
    gateway.terminate().await;
    Binary::start(&store, None, &BinaryOptions::default()).await.terminate().await;
}

#[tokio::test]
async fn a_log_is_opened_with_its_own_master_key_and_no_other() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        Binary::start(&store, None, &BinaryOptions::default()).await.terminate().await;
        let url = format!("store.url={}", store.url);
        let other = format!("secrets.master_key={}", "43".repeat(32));
        for command in [
            &["serve"][..],
            &["events"],
            &["keys", "master", "rotate", "--new-key-file", "next.key"],
        ] {
            let next = store.dir.path().join("next.key");
            std::fs::write(&next, "44".repeat(32)).expect("a file");
            std::fs::set_permissions(&next, Permissions::from_mode(0o600)).expect("a file");
            let more = ["--set", &url, "--set", &other, "--set", "listen=127.0.0.1:0"];
            let arguments: Vec<&str> = command.iter().copied().chain(more).collect();
            let output = run(&store, &arguments, &[]).await;
            assert_refused(&output, 1, &["master key"]);
            assert!(!text(&output.stderr).contains(&"43".repeat(32)));
        }
        // With its own, nothing was harmed.
        Binary::start(&store, None, &BinaryOptions::default()).await.terminate().await;
        if kind == StoreKind::Postgres {
            let output =
                run(&store, &["serve", "--set", &url, "--set", "listen=127.0.0.1:0"], &[]).await;
            assert_refused(&output, 2, &["secrets.master_key", "PostgreSQL"]);
        }
    }
}

#[tokio::test]
async fn failures_exit_with_one_and_wrong_usage_with_two() {
    let store = Store::fresh(StoreKind::Sqlite).await;
    for arguments in [
        &[][..],
        &["fly"],
        &["serve", "--fast"],
        &["history"],
        &["history", "spaceship", "x"],
        &["history", "message", "nonsense"],
        &["keys", "create"],
        &["keys", "master"],
        &["demo", "--recipients", "many"],
        &["replay", "--projection"],
    ] {
        assert_refused(&run(&store, arguments, &[]).await, 2, &[]);
    }
    let nowhere = ["--url", "http://127.0.0.1:1", "--key", "wgk_canary"];
    for arguments in [
        &["keys", "list"][..],
        &["keys", "revoke", "x"],
        &["import", "contacts", "missing.csv"],
        &["import", "undo", "x"],
        &["replay"],
    ] {
        let arguments: Vec<&str> = arguments.iter().copied().chain(nowhere).collect();
        let output = run(&store, &arguments, &[]).await;
        assert_refused(&output, 1, &["error: "]);
        assert!(!text(&output.stderr).contains("wgk_canary"));
    }
    // There is no log yet to be read, and reading makes none.
    for arguments in
        [&["events"][..], &["history", "message", "0190a0a0-0000-7000-8000-000000000000"]]
    {
        assert_refused(&run(&store, arguments, &[]).await, 1, &["error: "]);
    }
    assert!(!store.dir.path().join("data").exists());
}

#[tokio::test]
async fn every_subcommand_explains_itself_with_an_example() {
    let store = Store::fresh(StoreKind::Sqlite).await;
    let mut rest: Vec<Vec<String>> = vec![vec![]];
    let mut seen = 0;
    while let Some(command) = rest.pop() {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        arguments.push("--help");
        let output = run(&store, &arguments, &[]).await;
        let help = text(&output.stdout);
        assert_eq!(
            (output.status.code(), text(&output.stderr).as_str()),
            (Some(0), ""),
            "{command:?}"
        );
        if !command.is_empty() {
            assert!(
                help.contains("Example: whatsapp-gateway "),
                "{command:?} has no example:\n{help}"
            );
            seen += 1;
        }
        let listed = help.split("\nCommands:\n").nth(1).unwrap_or_default();
        for line in listed.lines().take_while(|line| line.starts_with("  ")) {
            let name = line.split_whitespace().next().unwrap_or_default();
            if line.starts_with("   ") || name == "help" {
                continue;
            }
            let mut inner = command.clone();
            inner.push(name.to_owned());
            rest.push(inner);
        }
    }
    assert!(seen >= 17, "the walk was cut short: {seen}");
}

#[tokio::test]
async fn results_go_to_standard_output_and_nothing_else_does() {
    let store = Store::fresh(StoreKind::Sqlite).await;
    let output = run(&store, &["schema"], &[]).await;
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    assert_eq!(text(&output.stdout), api::graphql::sdl());
    let output = run(&store, &["config", "check", "--defaults"], &[]).await;
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    // What it prints is a configuration that it takes.
    std::fs::write(store.dir.path().join("printed.toml"), &output.stdout).expect("a file");
    let output = run(&store, &["config", "check", "--config", "printed.toml"], &[]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}
