//! What must hold for any text that is the name of a file among event logs.

use std::path::Path;

use eventlog::{Part, Place, rolling_dir, single};

pub fn hold_for(bytes: &[u8]) {
    let Ok(name) = std::str::from_utf8(bytes) else { return };
    if let Some(found) = single(name) {
        let suffix = found.codec.map_or_else(|other| format!(".{other}"), |codec| codec.suffix());
        let progress = if found.in_progress { ".inprogress" } else { "" };
        assert_eq!(format!("{}{suffix}{progress}", found.app), name);
        assert!(Part::parse(name).is_none(), "a log of its own, and a part of one");
    }
    if let Some(Part::Events { number, compact, .. }) = Part::parse(name) {
        let digits = name.strip_prefix("events_").and_then(|it| it.split_once('_')).map(|(digits, _)| digits);
        assert_eq!(digits.and_then(|it| it.parse().ok()), Some(number));
        assert_eq!(compact, name.ends_with(".compact"));
    }
    if let Some(app) = rolling_dir(name) {
        assert_eq!(format!("eventlog_v2_{app}"), name);
    }
    let folder = Path::new("/folder/of/logs");
    if let Ok(Place::Path(path)) = Place::Path(folder.into()).child(name) {
        assert_eq!((path.parent(), path.file_name()), (Some(folder), Some(name.as_ref())), "it leads elsewhere");
    }
}
