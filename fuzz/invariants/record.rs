//! What must hold for any bytes that stand as header or key of a record of the journal, where other producers may write.

use bytes::Bytes;
use event::{DeadLetter, Deletion, Header, RunHash, RunName};

pub fn hold_for(bytes: &[u8]) {
    if let Ok(header) = Header::parse(bytes) {
        let mut text = Vec::new();
        header.write(&mut text);
        assert_eq!(Header::parse(&text).as_ref(), Ok(&header));
        assert!(Deletion::is_announced_by(bytes) == Deletion::is_announced_by(&text));
    }
    if let Ok(name) = RunName::from_key(bytes) {
        assert_eq!(name.to_key(), bytes, "a run has two keys");
        assert_eq!(name.hash().to_string().parse(), Ok(name.hash()));
    }
    if let Ok(deletion) = Deletion::from_key(bytes) {
        assert_eq!(Deletion::from_key(&deletion.to_key()), Ok(deletion));
    }
    if let Ok(letter) = DeadLetter::from_parts(bytes, Bytes::copy_from_slice(bytes)) {
        let again = DeadLetter::from_parts(&letter.header(), letter.value.clone());
        assert_eq!(again.expect("what was written is read"), letter);
        let key = letter.key();
        assert!(key.is_empty() || RunName::from_key(&key).is_ok());
        if let Ok(replay) = letter.replay() {
            assert!(replay.body.len() >= letter.value.len() || letter.protocol.as_deref() == Some("delight"));
        }
    }
    let text = String::from_utf8_lossy(bytes);
    if let Ok(id) = text.parse::<RunHash>() {
        assert_eq!(id.to_string(), text, "a run has two ids");
    }
}
