//! Exchanges with a server on this machine that says what it is told to say.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::verdict::Pair;
use phasegate_runtime::ports::{Clock, Http, HttpError, HttpRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::{LiveHttp, RemoteHttp};
use crate::clock::{ScaledClock, ScaledClockError};

/// Goes on by a second whenever it is looked at; waits end when the test says so.
struct StepClock {
    now: Mutex<u64>,
    over: Arc<Notify>,
}

#[async_trait]
impl Clock for StepClock {
    fn now(&self) -> Timestamp {
        let mut now = self.now.lock().unwrap();
        *now += 1000;
        Timestamp::from_millis(*now)
    }

    async fn sleep_until(&self, _: Timestamp) {
        self.over.notified().await;
    }
}

fn clock() -> (Arc<StepClock>, Arc<Notify>) {
    let over = Arc::new(Notify::new());
    let clock = StepClock {
        now: Mutex::new(0),
        over: Arc::clone(&over),
    };
    (Arc::new(clock), over)
}

struct Server {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

/// Answers every connection with the same bytes; with none, keeps it open in silence.
async fn serve(answer: Option<String>, arrived: Option<Arc<Notify>>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = vec![0; 64 << 10];
            let mut request = String::new();
            // A body comes whole when its length was seen; these requests fit into a few reads.
            while !complete(&request) {
                let read = stream.read(&mut buffer).await.unwrap();
                request.push_str(&String::from_utf8_lossy(&buffer[..read]));
                if read == 0 {
                    break;
                }
            }
            log.lock().unwrap().push(request);
            match &answer {
                Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                None => {
                    if let Some(arrived) = &arrived {
                        arrived.notify_one();
                    }
                    std::future::pending::<()>().await;
                }
            }
        }
    });
    Server { endpoint, requests }
}

fn complete(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        })
        .unwrap_or(0_usize);
    body.len() >= length
}

fn answer(status: &str, headers: &str, body: &str) -> Option<String> {
    Some(format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

fn request(url: &str) -> HttpRequest {
    HttpRequest {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        body: None,
        timeout: Span::from_secs(5),
        max_body: 100,
    }
}

#[tokio::test]
async fn a_request_goes_out_as_it_is_and_its_answer_is_measured() {
    let server = serve(answer("201 Created", "x-trace: a\r\n", "done"), None).await;
    let (clock, _) = clock();
    let response = LiveHttp::new(clock)
        .send(HttpRequest {
            method: "POST".to_owned(),
            headers: vec![Pair {
                name: "Authorization".to_owned(),
                value: "Bearer t".to_owned(),
            }],
            body: Some(b"ping".to_vec()),
            ..request(&format!("{}/hook?x=1", server.endpoint))
        })
        .await
        .unwrap();
    assert_eq!(
        (response.status, response.body.as_slice()),
        (201, &b"done"[..])
    );
    assert!(!response.truncated);
    assert!(
        response
            .headers
            .iter()
            .any(|h| h.name == "x-trace" && h.value == "a")
    );
    assert_eq!(response.took, Span::from_secs(1));
    let sent = server.requests.lock().unwrap()[0].clone();
    assert!(sent.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{sent}");
    assert!(sent.contains("authorization: Bearer t\r\n"), "{sent}");
    assert!(sent.ends_with("\r\n\r\nping"), "{sent}");
}

#[tokio::test]
async fn a_long_answer_is_cut_and_says_so() {
    let server = serve(answer("200 OK", "", &"x".repeat(5000)), None).await;
    let response = LiveHttp::new(clock().0)
        .send(request(&server.endpoint))
        .await
        .unwrap();
    assert_eq!((response.body.len(), response.truncated), (100, true));
}

#[tokio::test]
async fn redirects_are_handed_back_and_not_followed() {
    let elsewhere = serve(answer("200 OK", "", "secret"), None).await;
    let location = format!("location: {}/\r\n", elsewhere.endpoint);
    let server = serve(answer("302 Found", &location, ""), None).await;
    let response = LiveHttp::new(clock().0)
        .send(request(&server.endpoint))
        .await
        .unwrap();
    assert_eq!(response.status, 302);
    assert!(elsewhere.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn no_answer_in_time_no_server_and_a_broken_answer_are_told_apart() {
    let (clock, over) = clock();
    let http = LiveHttp::new(clock);
    let silent = serve(None, Some(over)).await;
    assert_eq!(
        http.send(request(&silent.endpoint)).await,
        Err(HttpError::TimedOut)
    );

    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let gone = http
        .send(request(&format!("http://127.0.0.1:{port}/")))
        .await;
    assert!(matches!(gone, Err(HttpError::Unreachable(_))), "{gone:?}");

    let broken = serve(
        Some("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab".to_owned()),
        None,
    )
    .await;
    let broken = http.send(request(&broken.endpoint)).await;
    assert!(
        matches!(&broken, Err(HttpError::Unreachable(why)) if why.contains("broke off")),
        "{broken:?}"
    );
}

#[tokio::test]
async fn what_can_not_be_sent_is_refused_before_anything_is() {
    let http = LiveHttp::new(clock().0);
    let denied = http.send(request("https://169.254.169.254/x")).await;
    assert!(
        matches!(&denied, Err(HttpError::Denied(why)) if why.contains("169.254.169.254") && why.contains("link-local")),
        "{denied:?}"
    );
    let header = |name: &str, value: &str| HttpRequest {
        headers: vec![Pair {
            name: name.to_owned(),
            value: value.to_owned(),
        }],
        ..request("http://127.0.0.1:1/")
    };
    let method = |method: &str| HttpRequest {
        method: method.to_owned(),
        ..request("http://127.0.0.1:1/")
    };
    for bad in [
        request("file:///etc/passwd"),
        request("not a url"),
        request("http://user:hunter2@127.0.0.1:1/"),
        request(&format!("http://127.0.0.1:1/{}", "x".repeat(9000))),
        header("host", "elsewhere"),
        header("Transfer-Encoding", "chunked"),
        header("a b", "c"),
        header("a", "hunter2\r\nx: y"),
        method("CONNECT"),
        method("GE T"),
    ] {
        let refused = http.send(bad).await;
        let Err(HttpError::Invalid(why)) = refused else {
            panic!("{refused:?}");
        };
        assert!(!why.contains("hunter2\r\n"), "{why}");
    }
}

#[tokio::test]
async fn in_a_simulated_world_a_request_goes_to_the_simulation() {
    let told = r#"{"Ok":{"status":200,"headers":[],"body":[104,105],"took":"120ms"}}"#;
    let server = serve(answer("200 OK", "", told), None).await;
    let http = RemoteHttp::new(&server.endpoint, clock().0).unwrap();
    let response = http.send(request("https://sentry.io/api")).await.unwrap();
    assert_eq!(
        (response.status, response.body.as_slice()),
        (200, &b"hi"[..])
    );
    assert_eq!(response.took, Span::from_millis(120));
    let sent = server.requests.lock().unwrap()[0].clone();
    assert!(
        sent.starts_with("POST /simulation/http HTTP/1.1\r\n"),
        "{sent}"
    );
    assert!(sent.contains(r#""url":"https://sentry.io/api""#), "{sent}");

    let told = r#"{"Err":{"error":"timed-out"}}"#;
    let server = serve(answer("200 OK", "", told), None).await;
    let http = RemoteHttp::new(&server.endpoint, clock().0).unwrap();
    assert_eq!(
        http.send(request("http://a/")).await,
        Err(HttpError::TimedOut)
    );
    assert!(RemoteHttp::new("http://10.0.0.1:80", clock().0).is_err());
}

#[tokio::test]
async fn a_simulated_cluster_tells_its_time() {
    let server = serve(
        answer("200 OK", "", r#"{"now_ms":5000000,"scale":60}"#),
        None,
    )
    .await;
    let clock = ScaledClock::read(&server.endpoint).await.unwrap();
    assert!(clock.now() >= Timestamp::from_millis(5_000_000));
    assert!((clock.scale() - 60.0).abs() < f64::EPSILON);

    let server = serve(answer("200 OK", "", "{}"), None).await;
    let nonsense = ScaledClock::read(&server.endpoint).await;
    assert!(
        matches!(nonsense, Err(ScaledClockError::Nonsense(_))),
        "{nonsense:?}"
    );
    let server = serve(answer("404 Not Found", "", ""), None).await;
    let missing = ScaledClock::read(&server.endpoint).await;
    assert!(
        matches!(missing, Err(ScaledClockError::Unreachable(_))),
        "{missing:?}"
    );
}
