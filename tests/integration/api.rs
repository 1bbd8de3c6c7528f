//! Bad input at the socket: each a clear error that names what to mend, and nothing lost.

use novacula_tests::golden;
use novacula_tests::harness::Place;

fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    let len = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len}\r\n{headers}\r\n{body}")
        .into_bytes()
}

#[test]
fn every_mistake_is_named() {
    let place = Place::new();
    let agent = place.serve();
    let check = |request: &[u8], status: &str, part: &str| {
        let answer = agent.raw(request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains(part), "{part:?} is not in {answer}");
    };
    check(&post("/v1/check", "", "Subject: x\n\nhi"), "200", "no-evidence");
    check(&post("/v1/check", "", ""), "200", "no-evidence");
    check(&post("/v1/cheque", "", ""), "404", "/v1/cheque");
    check(b"GET /v1/check HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "405", "use POST");
    check(
        b"POST /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        "405",
        "use GET",
    );
    check(&post("/v1/check", "novacula-delivary: now\r\n", "x"), "400", "novacula-delivary");
    check(&post("/v1/check", "novacula-delivery: soon\r\n", "x"), "400", "must be now");
    check(&post("/v1/report", "novacula-received: noon\r\n", "x"), "400", "seconds since 1970");
    check(&post("/v1/check", "novacula-authentication: maybe\r\n", "x"), "400", "pass or fail");
    check(
        b"POST /v1/check HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 99\r\n\r\nshort",
        "400",
        "shorter than content-length",
    );
    check(b"nonsense\r\n\r\n", "400", "");
    let put = b"PUT /v1/allow HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\r\n\xff\xfe\xfd";
    check(put, "400", "one pattern");
    check(
        b"GET /v1/openapi.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "200",
        "/v1/withdraw",
    );
    check(
        b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "200",
        "novacula_requests_refused_total 9",
    );
}

#[test]
fn a_body_of_100_mb_is_refused_and_costs_no_memory() {
    let place = Place::new();
    let agent = place.serve();
    let before = agent.rss_kib();
    let stated = agent.raw(b"POST /v1/check HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 100000000\r\n\r\n");
    assert!(stated.starts_with("HTTP/1.1 413") && stated.contains("25 MiB"), "{stated}");
    // Without a stated length it is read up to the bound and no further.
    let chunk = [b"100000\r\n".to_vec(), vec![b'x'; 1 << 20], b"\r\n".to_vec()].concat();
    let head = b"POST /v1/check HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let unstated = agent.raw(&[head.to_vec(), chunk.repeat(100)].concat());
    assert!(unstated.is_empty() || unstated.starts_with("HTTP/1.1 413"), "{unstated}");
    assert!(agent.rss_kib() < before + (64 << 10), "{} KiB", agent.rss_kib());
    assert_eq!(place.run(&["status"]).code, 0);
}

#[test]
fn idle_and_slow_connections_are_closed_and_do_no_harm() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    let place = Place::new();
    let _agent = place.serve();
    let mut slow: Vec<UnixStream> = (0..500)
        .map(|at| {
            let mut stream = UnixStream::connect(place.socket()).unwrap();
            if at % 2 == 0 {
                stream.write_all(b"POST /v1/check HT").unwrap();
            }
            stream
        })
        .collect();
    let started = std::time::Instant::now();
    assert_eq!(place.run(&["status"]).code, 0);
    assert!(started.elapsed().as_secs() < 1, "an honest caller waited {:?}", started.elapsed());
    for stream in [0, 1] {
        let stream = &mut slow[stream];
        stream.set_read_timeout(Some(std::time::Duration::from_secs(15))).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("closed before the timeout");
    }
}

#[test]
fn a_reporter_is_believed_from_configured_users_only() {
    let place = Place::new();
    let mail = std::fs::read_to_string(golden("mails/04-spam-plain.eml")).unwrap();
    let agent = place.serve();
    // The agent's own user may speak for others.
    let answer = agent.raw(&post("/v1/report", "novacula-reporter: ann\r\n", &mail));
    assert!(answer.contains("durable"), "{answer}");
    let answer = agent.raw(&post("/v1/withdraw", "novacula-reporter: bob\r\n", &mail));
    assert!(answer.contains("nothing-to-withdraw"), "one may not undo another's: {answer}");
    let answer = agent.raw(&post("/v1/withdraw", "novacula-reporter: ann\r\n", &mail));
    assert!(answer.contains("durable"), "{answer}");
    let put = b"PUT /v1/allow HTTP/1.1\r\nhost: x\r\nconnection: close\r\nnovacula-reporter: ann\r\ncontent-length: 12\r\n\r\n@example.org";
    assert!(agent.raw(put).starts_with("HTTP/1.1 403"), "users do not change the allowlist");
}
