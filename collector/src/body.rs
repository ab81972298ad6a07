//! Takes a body in, frame by frame, each charged to the budget as it comes.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use event::dead_letter;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::budget::Lease;
use crate::{Error, Options};

/// A body that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    Whole(Bytes),
    /// It is larger than the limit: its beginning, and its length.
    Beginning(Bytes, usize),
}

/// What the headers say of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Gzip,
    /// Not said. Some agents compress without saying so: the body's first bytes decide.
    Unsaid,
}

pub fn encoding(headers: &HeaderMap) -> Result<Encoding, Error> {
    let mut encoding = Encoding::Unsaid;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let text = String::from_utf8_lossy(value.as_bytes());
        let text = text.trim();
        encoding = match encoding {
            _ if text.is_empty() || text.eq_ignore_ascii_case("identity") => encoding,
            Encoding::Unsaid if ["gzip", "x-gzip"].iter().any(|name| text.eq_ignore_ascii_case(name)) => Encoding::Gzip,
            _ => return Err(Error::Encoding(service::problem::bounded(text))),
        };
    }
    Ok(encoding)
}

pub async fn receive(body: Body, headers: &HeaderMap, options: &Options, lease: &mut Lease) -> Result<Bytes, Error> {
    let too_large = Error::TooLargeOnWire { limit: options.wire_bytes };
    let promised = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if promised.is_some_and(|length| length > options.wire_bytes) {
        return Err(too_large);
    }
    let mut body = Frames { body, options, end: Instant::now() + options.body_total };
    match read(&mut body, lease).await? {
        (received, None) => Ok(received),
        (_, Some(_)) => Err(too_large),
    }
}

/// As [`receive`], but a body that is too large is read to its end, of which little is kept: its client would take an
/// answer before it for a broken connection.
pub async fn receive_to_its_end(body: Body, options: &Options, lease: &mut Lease) -> Result<Received, Error> {
    let mut body = Frames { body, options, end: Instant::now() + options.body_total };
    let (received, over) = read(&mut body, lease).await?;
    let Some(data) = over else { return Ok(Received::Whole(received)) };
    let mut length = received.len() + data.len();
    let mut beginning = BytesMut::from(&received[..received.len().min(dead_letter::TRUNCATED_BYTES)]);
    drop(received);
    let room = dead_letter::TRUNCATED_BYTES - beginning.len();
    beginning.extend_from_slice(&data[..data.len().min(room)]);
    lease.shrink_to(beginning.len());
    while let Some(data) = body.next().await? {
        length = length.saturating_add(data.len());
    }
    Ok(Received::Beginning(beginning.freeze(), length))
}

struct Frames<'a> {
    body: Body,
    options: &'a Options,
    end: Instant,
}

impl Frames<'_> {
    /// The next part of the body; none behind the last.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let options = self.options;
        loop {
            let until = self.end.min(Instant::now() + options.body_idle);
            let frame = timeout_at(until, self.body.frame()).await;
            let frame = frame.map_err(|_| Error::Stalled { waited: options.body_idle.min(options.body_total) })?;
            let Some(frame) = frame else { return Ok(None) };
            if let Ok(data) = frame.map_err(|_| Error::Incomplete)?.into_data() {
                return Ok(Some(data));
            }
        }
    }
}

/// Up to the limit, and the part that goes beyond it.
async fn read(body: &mut Frames<'_>, lease: &mut Lease) -> Result<(Bytes, Option<Bytes>), Error> {
    let (mut first, mut all) = (Bytes::new(), BytesMut::new());
    let mut over = None;
    while let Some(data) = body.next().await? {
        if first.len() + all.len() + data.len() > body.options.wire_bytes {
            over = Some(data);
            break;
        }
        lease.grow(data.len())?;
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if !first.is_empty() {
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok((if all.is_empty() { first } else { all.freeze() }, over))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn encodings_are_gzip_none_or_refused() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            encoding(&headers).ok()
        };
        assert_eq!([of(&[]), of(&[""]), of(&["identity"])], [Some(Encoding::Unsaid); 3]);
        assert_eq!([of(&["gzip"]), of(&["GZIP "]), of(&["x-gzip"])], [Some(Encoding::Gzip); 3]);
        assert_eq!([of(&["br"]), of(&["gzip, gzip"]), of(&["gzip", "gzip"]), of(&["deflate"])], [None; 4]);
    }
}
