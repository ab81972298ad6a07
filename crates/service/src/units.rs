//! Values of flags: durations as `30s`, sizes as `64MiB`.

use std::time::{Duration, UNIX_EPOCH};

use bytesize::ByteSize;

/// For `#[arg(value_parser = service::units::duration)]`.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{e}; write a duration such as 500ms, 30s or 10m"))
}

/// Bytes, for `#[arg(value_parser = service::units::size)]`.
pub fn size(text: &str) -> Result<usize, String> {
    let help = "write a size such as 512KiB, 64MiB or 1GiB";
    match text.parse().map_err(|e| format!("{e}; {help}"))? {
        // What is larger is read as this.
        ByteSize(u64::MAX) => Err(format!("too large; {help}")),
        ByteSize(bytes) => usize::try_from(bytes).map_err(|_| format!("too large for this machine; {help}")),
    }
}

/// Milliseconds of the Unix epoch as a time in UTC, to the second; as they are if that is not of our calendar.
pub fn utc(millis: i64) -> String {
    const YEAR_10000: u64 = 253_402_300_800;
    match u64::try_from(millis) {
        Ok(millis) if millis / 1000 < YEAR_10000 => {
            humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(millis)).to_string()
        }
        _ => millis.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_utc() {
        assert_eq!(utc(1_795_228_883_737), "2026-11-21T02:41:23Z");
        assert_eq!((utc(-1), utc(i64::MAX)), ("-1".to_owned(), i64::MAX.to_string()));
        assert_eq!(utc(253_402_300_799_999), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn durations_and_sizes_are_read_with_their_units() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1h 5m"), Ok(Duration::from_secs(3900)));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1000"), Ok(1000));
        for bad in ["30", "", "-1s", "soon"] {
            assert!(duration(bad).unwrap_err().contains("such as"), "{bad}");
        }
        for bad in ["", "64 bananas", "-1", "99999999999999999999GiB"] {
            assert!(size(bad).unwrap_err().contains("such as"), "{bad}");
        }
    }
}
