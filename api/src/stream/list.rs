//! A list as one JSON array, in pages that are read as the client takes them.

use std::sync::Arc;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use store::Reader;

use super::{Message, open};
use crate::Api;
use crate::error::Error;

/// Entries of a list that are read at once.
const PAGE: usize = 1000;

/// Entries of a list, and where the next ones begin.
pub struct Page<C> {
    pub entries: Vec<String>,
    pub next: Option<C>,
}

/// A list of texts as one JSON array, read page by page. The first page decides the status.
pub async fn json_array<C: Send + Sync + 'static>(
    api: Arc<Api>,
    page: impl Fn(&Reader, Option<&C>, usize) -> Result<Page<C>, Error> + Send + Sync + 'static,
) -> Result<Response, Error> {
    let page = Arc::new(page);
    let ask = async move |api: &Api, after: Option<C>| {
        let page = page.clone();
        api.ask(move |reader| page(reader, after.as_ref(), PAGE)).await
    };
    let first = ask(&api, None).await?;
    let json = [(header::CONTENT_TYPE, "application/json")];
    let mut text = b"[".to_vec();
    append(&mut text, &first.entries)?;
    if first.entries.len() < PAGE {
        text.push(b']');
        return Ok((json, text).into_response());
    }
    let (mut sender, body) = open(&api)?;
    tokio::spawn(async move {
        let mut next = first.next;
        while sender.send(Message::Chunk(std::mem::take(&mut text).into())).await {
            let Some(after) = next.take() else {
                sender.send(Message::End).await;
                return;
            };
            match ask(&sender.api, Some(after)).await.and_then(|page| Ok((append(&mut text, &page.entries)?, page))) {
                Ok(((), page)) if page.entries.len() < PAGE => text.push(b']'),
                Ok(((), page)) => next = page.next,
                Err(error) => {
                    tracing::error!(%error, "cannot read a list");
                    return sender.cut("error");
                }
            }
        }
    });
    Ok((json, body).into_response())
}

/// Appends entries to an array that is open.
fn append(text: &mut Vec<u8>, entries: &[String]) -> Result<(), Error> {
    for entry in entries {
        // Behind the first page the array's beginning has been sent.
        if text.last() != Some(&b'[') {
            text.push(b',');
        }
        serde_json::to_writer(&mut *text, entry).map_err(|e| Error::Failed(e.to_string()))?;
    }
    Ok(())
}
