//! What a sample of `/collector/metrics` must be: a JSON object on one line, with its time in `timestamp`.

use crate::GeneratedAt;
use crate::collect::Reason;
use crate::collect::message::{Fault, not_an_integer};
use crate::json::{self, Scanner, Shape};

const MEMBER: &str = "timestamp";

impl From<json::Error> for Fault {
    fn from(error: json::Error) -> Self {
        Self::new(Reason::NotJson, "", format!("the sample is {error}"))
    }
}

/// When a sample was taken.
pub fn time(sample: &[u8]) -> Result<GeneratedAt, Fault> {
    if std::str::from_utf8(sample).is_err() {
        return Err(Fault::new(Reason::NotUnicode, "", "the sample is not UTF-8"));
    }
    if memchr::memchr2(b'\n', b'\r', sample).is_some() {
        return Err(Fault::new(Reason::LineBreak, "", "the sample holds a raw line break"));
    }
    let mut scanner = Scanner::new(sample);
    let shape = scanner.shape()?;
    if shape != Shape::Object {
        scanner.skip()?;
        scanner.end()?;
        return Err(Fault::new(Reason::NotAnObject, "", format!("the sample must be an object, not {}", shape.name())));
    }
    let mut time = None;
    scanner.object(|scanner, name| {
        if name != MEMBER.as_bytes() {
            return Ok(scanner.skip()?);
        }
        if time.is_some() {
            return Err(Fault::new(Reason::DuplicateMember, MEMBER, "timestamp appears twice"));
        }
        let found = scanner.shape()?;
        if found != Shape::Number {
            let what = format!("timestamp must be an integer, not {}", found.name());
            return Err(Fault::new(Reason::WrongType, MEMBER, what));
        }
        let number = scanner.number()?;
        time = Some(number.parse().map(GeneratedAt).map_err(|_| not_an_integer(MEMBER, number))?);
        Ok(())
    })?;
    scanner.end()?;
    time.ok_or_else(|| Fault::new(Reason::MissingMember, MEMBER, "timestamp is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_an_object_on_one_line_with_its_time() {
        let good = br#"{"host":"driver","kind":"memory","timestamp":-5,"metrics":{"a":[1,{}]}}"#;
        assert_eq!(time(good).map_err(|it| it.what), Ok(GeneratedAt(-5)));
        for (bad, reason) in [
            ("", Reason::NotJson),
            ("{\"timestamp\":1}x", Reason::NotJson),
            ("[{\"timestamp\":1}]", Reason::NotAnObject),
            ("{\"metrics\":{\"timestamp\":1}}", Reason::MissingMember),
            ("{\"timestamp\":1,\"timestamp\":1}", Reason::DuplicateMember),
            ("{\"timestamp\":\"1\"}", Reason::WrongType),
            ("{\"timestamp\":1.5}", Reason::WrongType),
            ("{\"timestamp\":9223372036854775808}", Reason::OutOfRange),
            ("{\"timestamp\":1,\r\"a\":2}", Reason::LineBreak),
        ] {
            assert_eq!(time(bad.as_bytes()).map_err(|it| it.reason), Err(reason), "{bad}");
        }
        assert_eq!(time(b"{\"timestamp\":1,\"a\":\"\xff\"}").map_err(|it| it.reason), Err(Reason::NotUnicode));
    }
}
