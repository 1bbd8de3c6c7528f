//! The sample for nginx: a mail client elsewhere reaches the agent over TLS, and the checks of the
//! TCP door hold behind it.

use std::process::{Command, Output};

use novacula_tests::harness::Place;

use crate::rig::{Daemon, Net, both, contrib, mail, run_with, serve, text, wait_for};

/// A client over TLS: method, path, host and further fields; prints status and body.
const CLIENT: &str = r#"
import http.client, ssl, sys
method, path, host, *fields = sys.argv[1:]
connection = http.client.HTTPSConnection("127.0.0.1", 443, context=ssl._create_unverified_context())
headers = dict(field.split(": ", 1) for field in fields)
connection.request(method, path, body=sys.stdin.buffer.read(), headers={"Host": host, **headers})
answer = connection.getresponse()
print(answer.status, answer.read().decode())
"#;

#[test]
fn over_tls_through_nginx() {
    let (place, net) = (Place::new(), Net::new());
    let run = |command: &mut Command| {
        let output = run_with(command, b"");
        assert!(output.status.success(), "{}", both(&output));
    };
    let path = |name: &str| place.path().join(name).display().to_string();
    run(Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
        .args([
            "-subj",
            "/CN=novacula.example.org",
            "-keyout",
            &path("key"),
            "-out",
            &path("cert"),
        ]));
    let sample = std::fs::read_to_string(contrib("thunderbird").join("nginx.conf")).unwrap();
    let sample = sample
        .replace("/etc/ssl/certs/novacula.example.org.pem", &path("cert"))
        .replace("/etc/ssl/private/novacula.example.org.key", &path("key"));
    assert!(sample.contains(&path("key")));
    let config = format!(
        "daemon off;\npid {dir}/nginx.pid;\nerror_log {dir}/nginx.log;\nuser root;\nevents {{}}\n\
         http {{\naccess_log off;\nclient_body_temp_path {dir}/body;\nproxy_temp_path {dir}/proxy;\n\
         fastcgi_temp_path {dir}/f;\nuwsgi_temp_path {dir}/u;\nscgi_temp_path {dir}/s;\n{sample}\n}}\n",
        dir = place.path().display()
    );
    let config = place.file("nginx.conf", config.as_bytes());
    let log = place.path().join("nginx.out");
    let _nginx = Daemon::start(net.command("nginx").args(["-c", &config]), &log);
    let settings = b"listen_tcp = \"127.0.0.1:8825\"\ntcp_hosts = [\"novacula.example.org\"]\n";
    let settings = place.file("novacula.toml", settings);
    let _agent = serve(&net, &place, &settings);

    let ask = |args: &[&str], body: &[u8]| -> Output {
        let mut client = net.command("python3");
        run_with(client.args(["-c", CLIENT]).args(args), body)
    };
    let host = "novacula.example.org";
    wait_for("nginx", || {
        text(&ask(&["GET", "/v1/status", host], b"")).starts_with("401").then_some(())
    });
    let code = place.run(&["pair", "ann"]).stdout.trim().to_owned();
    let paired = text(&ask(
        &["POST", "/v1/token", host],
        format!("{{\"code\": \"{code}\", \"label\": \"elsewhere\"}}").as_bytes(),
    ));
    let token = paired.split('"').nth(3).unwrap_or_default();
    let bearer = format!("Authorization: Bearer {token}");
    let said = text(&ask(&["POST", "/v1/report", host, &bearer], &mail("04-spam-plain.eml")));
    assert!(said.starts_with("200") && said.contains("durable"), "{paired}\n{said}");
    // Behind the proxy as before it: no page, no other name, no path that is not for mail clients.
    let origin = ask(&["GET", "/v1/status", host, &bearer, "Origin: https://evil.example"], b"");
    assert!(text(&origin).starts_with("403"), "{}", both(&origin));
    let other = ask(&["GET", "/v1/status", "evil.example", &bearer], b"");
    assert!(text(&other).starts_with("421"), "{}", both(&other));
    assert!(text(&ask(&["GET", "/metrics", host, &bearer], b"")).starts_with("404"));
}
