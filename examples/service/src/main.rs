//! A service around a library that crashes and hangs: `curl --data good http://127.0.0.1:8080/parse`.

use std::{error::Error, sync::Arc, time::Duration};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use pool::{PoolError, ProcessPool, TaskError};
use tokio::net::TcpListener;

/// Stands for a call into the library.
fn parse(input: Vec<u8>) -> usize {
    match input.first() {
        Some(b'!') => std::process::abort(),
        Some(b'?') => std::thread::sleep(Duration::from_secs(1000)),
        _ => {}
    }
    input.len()
}

fn pool() -> Result<ProcessPool, PoolError> {
    ProcessPool::builder().workers(2).task_timeout(Duration::from_millis(500)).max_pending(100).build()
}

fn app(pool: ProcessPool) -> Router {
    Router::new().route("/parse", post(handle)).with_state(Arc::new(pool))
}

/// A client that goes away takes its task along.
async fn handle(State(pool): State<Arc<ProcessPool>>, body: Bytes) -> Result<String, (StatusCode, String)> {
    let busy = |_| (StatusCode::SERVICE_UNAVAILABLE, "busy\n".to_owned());
    let task = pool.try_apply_async(parse, (body.into(),)).map_err(busy)?;
    let n = task.cancel_on_drop().await.map_err(|e| (status(&e), format!("{e}\n")))?;
    Ok(format!("{n}\n"))
}

fn status(error: &TaskError) -> StatusCode {
    match error {
        TaskError::WorkerDied { .. } | TaskError::Panicked { .. } | TaskError::Quarantined => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        TaskError::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        TaskError::MemoryLimit => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    axum::serve(listener, app(pool()?)).with_graceful_shutdown(async { drop(tokio::signal::ctrl_c().await) }).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{SocketAddr, TcpStream},
    };

    use super::*;

    fn ask(server: SocketAddr, body: &str) -> String {
        let mut stream = TcpStream::connect(server).unwrap();
        let head = "POST /parse HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: ";
        write!(stream, "{head}{}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        format!("{} {}", head.split(' ').nth(1).unwrap(), body.trim_end())
    }

    #[test]
    fn each_way_to_fail_has_an_answer_and_costs_nobody_else() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let server = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let asked = tokio::task::spawn_blocking(move || {
                let answers = ["good", "!bad", "?slow", "next"].map(|body| ask(address, body));
                assert_eq!([&answers[0], &answers[3]], ["200 4", "200 4"]);
                assert!(answers[1].starts_with("422 worker "), "{answers:?}");
                assert_eq!(answers[2], "504 timed out");
            });
            let serving = axum::serve(listener, app(pool().unwrap()));
            tokio::select! {
                asked = asked => asked,
                served = async { serving.await } => panic!("ended: {served:?}"),
            }
        });
        server.unwrap();
    }
}
