//! What the sequences of a run's events tell of those that are missing.

use event::header::Instance;
use event::{Header, Protocol, Sequence};
use serde::{Deserialize, Serialize};

/// What the headers of the stored events tell of sequences; a function of the events and their protocols.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spans(Vec<Span>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Span {
    instance: Option<Instance>,
    first: Sequence,
    last: Sequence,
    /// Different sequences seen.
    count: u64,
    /// Events beyond the first at their sequence.
    conflicts: u64,
}

impl Spans {
    const MAX: usize = 64;

    /// Takes in the header of one stored event; `conflict`: another event is stored at its sequence.
    pub fn fold(&mut self, header: &Header, conflict: bool) {
        let (Some(sequence), true) = (header.sequence, header.protocol != Protocol::Collect) else { return };
        if let Some(span) = self.0.iter_mut().find(|it| it.instance == header.instance) {
            span.first = span.first.min(sequence);
            span.last = span.last.max(sequence);
            *(if conflict { &mut span.conflicts } else { &mut span.count }) += 1;
        } else if self.0.len() < Self::MAX {
            let instance = header.instance;
            self.0.push(Span { instance, first: sequence, last: sequence, count: 1, conflicts: 0 });
            self.0.sort_by_key(|it| it.instance);
        }
    }

    /// The first sequence from 0 of which no event is stored, if it is behind all that are: none where one before them
    /// is missing, and where nothing is known of the instance because the run has too many.
    pub fn next_sequence(&self, instance: Option<Instance>) -> Option<Sequence> {
        let Some(span) = self.0.iter().find(|it| it.instance == instance) else {
            return (self.0.len() < Self::MAX).then_some(Sequence(0));
        };
        let length = i128::from(span.last.0) - i128::from(span.first.0) + 1;
        let is_whole = span.first.0 <= 0 && length == i128::from(span.count);
        is_whole.then(|| Sequence(span.last.0.saturating_add(1).max(0)))
    }

    /// Events that never came, as far as sequences tell; none where no agent of the run counts exactly.
    pub fn gaps(&self) -> Option<u64> {
        let gaps = |span: &Span| {
            let expected = i128::from(span.last.0) - i128::from(span.first.0.min(0)) + 1;
            u64::try_from(expected - i128::from(span.count)).unwrap_or(0)
        };
        if self.0.is_empty() { None } else { Some(self.0.iter().map(gaps).fold(0, u64::saturating_add)) }
    }

    /// Different events that share a sequence.
    pub fn conflicts(&self) -> u64 {
        self.0.iter().map(|span| span.conflicts).sum()
    }
}

#[cfg(test)]
mod tests {
    use event::{Kind, ReceivedAt, ingest};

    use super::*;

    #[test]
    fn the_next_sequence_is_told_only_where_none_is_missing_before_it() {
        let header = |sequence, attempt| Header {
            kind: Kind::Event,
            protocol: Protocol::Ingest,
            generated_at: None,
            sequence: Some(Sequence(sequence)),
            identity: None,
            received_at: ReceivedAt(0),
            instance: ingest::instance_of(attempt),
        };
        let mut spans = Spans::default();
        let next = |spans: &Spans, attempt| spans.next_sequence(ingest::instance_of(attempt)).map(|it| it.0);
        assert_eq!(next(&spans, 0), Some(0));
        for sequence in [-1, 1, 0] {
            spans.fold(&header(sequence, 0), false);
        }
        spans.fold(&header(1, 0), true);
        spans.fold(&header(5, 1), false);
        spans.fold(&header(0, 2), false);
        assert_eq!([0, 1, 2, 3].map(|attempt| next(&spans, attempt)), [Some(2), None, Some(1), Some(0)]);
        spans.fold(&header(3, 0), false);
        assert_eq!(next(&spans, 0), None);
        spans.fold(&header(i64::MAX, 2), false);
        assert_eq!(next(&spans, 2), None);
        (3..).take(Spans::MAX).for_each(|attempt| spans.fold(&header(0, attempt), false));
        assert_eq!(next(&spans, 1000), None, "it may be stored, but is not counted");
    }

    #[test]
    fn gaps_are_counted_for_each_instance() {
        let header = |sequence, instance| Header {
            kind: Kind::Event,
            protocol: Protocol::Instance,
            generated_at: None,
            sequence: Some(Sequence(sequence)),
            identity: None,
            received_at: ReceivedAt(0),
            instance: Some(Instance(instance)),
        };
        let mut spans = Spans::default();
        assert_eq!(spans.gaps(), None);
        for sequence in [0, 1, 4] {
            spans.fold(&header(sequence, 1), false);
        }
        spans.fold(&header(1, 2), false);
        spans.fold(&header(1, 2), true);
        assert_eq!((spans.gaps(), spans.conflicts()), (Some(3), 1));
        spans.fold(&Header { protocol: Protocol::Collect, ..header(99, 1) }, false);
        assert_eq!(spans.gaps(), Some(3));
    }
}
