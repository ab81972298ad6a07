//! Values of flags: durations as `30s`, sizes as `64MiB`.

use std::time::Duration;

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

#[cfg(test)]
mod tests {
    use super::*;

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
