//! What was acknowledged survives a power cut at any call, and the controls show that fsync is what saves it.

use super::simulated::{Simulated, Unsynced};
use super::{open, publish, read, record};

/// Publishes until the power goes; how many records were acknowledged.
fn publish_until_cut(disk: &Simulated) -> usize {
    let Ok(local) = open(disk) else { return 0 };
    let mut acknowledged = 0;
    for size in [1, 3, 2, 5, 1, 1, 4, 2] {
        let records = super::records(acknowledged..acknowledged + size);
        if publish(&local, records).is_err() {
            break;
        }
        acknowledged += size;
    }
    acknowledged
}

/// Why the journal does not hold after the cut what it acknowledged before.
fn loss(acknowledged: usize, disk: &Simulated) -> Option<String> {
    let local = match open(disk) {
        Ok(local) => local,
        Err(e) => return Some(e.to_string()),
    };
    let held = match read(&local) {
        Ok(held) => held,
        Err(e) => return Some(e.to_string()),
    };
    if held.len() < acknowledged {
        return Some(format!("{} of {acknowledged} records", held.len()));
    }
    assert_eq!(held, super::records(0..held.len()));
    // What follows goes behind it, and is held too.
    publish(&local, vec![record(held.len())]).unwrap();
    assert_eq!(read(&local).unwrap().len(), held.len() + 1);
    None
}

/// A power cut at each call of the storage, with each fate of what was not synced.
fn losses(prepare: impl Fn(&Simulated)) -> Vec<String> {
    let mut losses = Vec::new();
    for cut in 0.. {
        let disk = Simulated::default();
        prepare(&disk);
        disk.lock().cut_at = Some(cut);
        let acknowledged = publish_until_cut(&disk);
        for unsynced in [Unsynced::Dropped, Unsynced::Half, Unsynced::Zeros] {
            losses.extend(loss(acknowledged, &disk.after_power_cut(unsynced)));
        }
        if disk.lock().calls <= cut {
            assert!(cut > 30 && disk.names().len() > 2, "the cuts go through several segments");
            return losses;
        }
    }
    losses
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_at_any_call() {
    assert_eq!(losses(|_| {}), Vec::<String>::new());
}

#[test]
fn without_the_fsync_of_files_acknowledged_records_are_lost() {
    assert!(!losses(|disk| disk.lock().ignore_file_sync = true).is_empty());
}

#[test]
fn without_the_fsync_of_the_directory_acknowledged_records_are_lost() {
    assert!(!losses(|disk| disk.lock().ignore_dir_sync = true).is_empty());
}
