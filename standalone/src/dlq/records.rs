//! Records of the journal of events that could not be applied: put back into it, for a materializer that knows them by now.

use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use event::Kind;
use event::dead_letter::{DeadLetter, Error};
use event::{Header, RunName};
use journal::local::{self, Local};
use journal::{Publisher, Record, kafka};
use prometheus::Registry;
use tokio::runtime::Runtime;

use crate::cli::DlqSource as Source;

/// Returns when the record is durable at the journal's end. What of it is stored already is found to be there.
pub fn put_back(source: &Source, key: Bytes, letter: &DeadLetter) -> anyhow::Result<()> {
    let record = record(key, letter)?;
    let runtime = Runtime::new()?;
    let publish = |publisher: &dyn Publisher| runtime.block_on(publisher.publish(vec![record]));
    if let Some(settings) = source.kafka.settings()? {
        let metrics = kafka::PublisherMetrics::register(&Registry::new(), &settings.topic)?;
        publish(&kafka::Publisher::open(settings, &kafka::PublisherOptions::default(), metrics)?)?;
        return Ok(());
    }
    let metrics = local::Metrics::register(&Registry::new(), "events")?;
    let journal = match Local::open(&source.data_dir.journal(), local::Options::default(), metrics) {
        Err(journal::Error::InUse(_)) => bail!("a record goes into the journal itself: stop its server first"),
        journal => Arc::new(journal?),
    };
    publish(&journal.publisher())?;
    Ok(())
}

fn record(key: Bytes, letter: &DeadLetter) -> anyhow::Result<Record> {
    if let Some(whole) = letter.truncated_from {
        bail!(Error::Truncated { kept: letter.value.len(), whole });
    }
    let header = &letter.origin.as_ref().context(Error::Incomplete)?.header;
    let kind = Header::parse(header.as_bytes()).context("this version does not know the record's header either")?.kind;
    ensure!(kind != Kind::Delete, "it deletes: delete the run or job again");
    RunName::from_key(&key).context("its key names no run")?;
    Ok(Record { key, header: header.clone().into(), value: letter.value.clone() })
}

#[cfg(test)]
mod tests {
    use event::ReceivedAt;
    use event::dead_letter::{Kind, Origin};

    use super::*;

    fn letter(header: &str) -> DeadLetter {
        DeadLetter {
            origin: Some(Origin { partition: 0, offset: 7, header: header.to_owned() }),
            ..DeadLetter::new(Kind::Record, "cannot_be_applied", "unknown kind", ReceivedAt::now())
        }
        .with_value(Bytes::from_static(b"{}"))
    }

    fn key() -> Bytes {
        RunName::new("job", "run").unwrap().to_key().into()
    }

    #[test]
    fn a_record_is_put_back_as_it_was() {
        let header = "1 event collect 1795229683257 12 93823c1d3bcae2f6 1795229683500 -";
        let record = record(key(), &letter(header)).unwrap();
        assert_eq!((&record.key, &record.header[..], &record.value[..]), (&key(), header.as_bytes(), &b"{}"[..]));
    }

    #[test]
    fn what_could_do_harm_is_not_put_back() {
        let event = letter("1 event collect 1795229683257 12 93823c1d3bcae2f6 1795229683500 -");
        let deletion = String::from_utf8(event::Deletion::header(ReceivedAt::now())).unwrap();
        let refused = [
            (key(), DeadLetter { truncated_from: Some(17_000_000), ..event.clone() }, "only the beginning was kept"),
            (key(), DeadLetter { origin: None, ..event.clone() }, "does not say to which run"),
            (key(), letter("9 unheard of"), "does not know the record's header"),
            (key(), letter(&deletion), "delete the run or job again"),
            (Bytes::from_static(b"no key"), event, "its key names no run"),
        ];
        for (key, letter, why) in refused {
            let error = format!("{:#}", record(key, &letter).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
    }
}
