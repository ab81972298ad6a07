//! Takes a body in, frame by frame, each charged to the budget as it comes.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::budget::Lease;
use crate::{Error, Options};

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

pub async fn receive(
    mut body: Body,
    headers: &HeaderMap,
    options: &Options,
    lease: &mut Lease,
) -> Result<Bytes, Error> {
    let too_large = Error::TooLargeOnWire { limit: options.wire_bytes };
    let promised = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if promised.is_some_and(|length| length > options.wire_bytes) {
        return Err(too_large);
    }
    let end = Instant::now() + options.body_total;
    let (mut first, mut all) = (Bytes::new(), BytesMut::new());
    loop {
        let until = end.min(Instant::now() + options.body_idle);
        let frame = timeout_at(until, body.frame()).await;
        let frame = frame.map_err(|_| Error::Stalled { waited: options.body_idle.min(options.body_total) })?;
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(|_| Error::Incomplete)?.into_data() else { continue };
        if first.len() + all.len() + data.len() > options.wire_bytes {
            return Err(too_large);
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
    Ok(if all.is_empty() { first } else { all.freeze() })
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
