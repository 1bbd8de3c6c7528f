//! What only root can set up: file systems of a test's own, in a mount namespace of its own.

use std::process::{Command, Output};

use novacula_tests::golden;
use novacula_tests::harness::{Place, novacula};

/// Runs a shell script in a mount namespace with `$N` the binary, `$M` a mail, `$D` a folder.
fn script(place: &Place, text: &str) -> Output {
    let output = Command::new("unshare")
        .args(["-m", "bash", "-euc", text])
        .env("N", novacula())
        .env("M", golden("mails/04-spam-plain.eml"))
        .env("MAILS", golden("mails"))
        .env("D", place.path())
        .output()
        .expect("unshare runs");
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

#[test]
fn a_read_only_data_directory_is_named() {
    let place = Place::new();
    let output = script(
        &place,
        r#"mount -t tmpfs -o size=8m tmpfs $D
        mkdir $D/data
        mount -o remount,ro $D
        if $N --data-dir $D/data --socket /run/novacula-test-$$.sock serve 2>&1; then exit 9; else echo "code $?"; fi"#,
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("Read-only file system") && text.contains("/data") && text.contains("code 2"),
        "{text}"
    );
}

#[test]
fn a_full_data_directory_loses_nothing_and_recovers() {
    let place = Place::new();
    let output = script(
        &place,
        r#"mount -t tmpfs -o size=1m tmpfs $D
        export NOVACULA_DATA_DIR=$D/data NOVACULA_SOCKET=$D/agent.sock
        $N serve 2>/dev/null & agent=$!
        for i in $(seq 100); do $N status >/dev/null 2>&1 && break; sleep 0.05; done
        $N report $MAILS/30-*.eml >/dev/null
        dd if=/dev/zero of=$D/fill bs=4k 2>/dev/null || true
        # Until the last page is taken a report may still fit.
        full=0
        for mail in $MAILS/*.eml; do
            if ! $N report "$mail" >/dev/null 2>$D.err; then grep -q "disk is full" $D.err && { full=1; break; }; fi
        done
        echo "full $full"
        cat $D.err
        $N check $MAILS/30-*.eml
        rm $D/fill
        for i in $(seq 100); do $N report $M >/dev/null 2>&1 && break; sleep 0.1; done
        $N check $M
        kill -9 $agent; wait $agent || true
        $N serve 2>/dev/null & agent=$!
        for i in $(seq 100); do $N status >/dev/null 2>&1 && break; sleep 0.05; done
        $N check $MAILS/30-*.eml
        $N check $M
        kill $agent; wait $agent; rm -f $D.err"#,
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("full 1") && text.contains("free some space"), "{text}");
    assert_eq!(text.matches(": spam").count(), 4, "{text}");
}
