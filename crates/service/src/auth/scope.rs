//! What a token allows.

use std::fmt;

use clap::ValueEnum;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scope {
    /// Send events
    Ingest,
    /// Read jobs, runs and events, metrics and the description of the API
    Read,
    /// Delete, and everything else
    Admin,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::Ingest, Self::Read, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of scopes, written `ingest,read`.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// None for what is no list of scopes.
    pub fn parse(text: &str) -> Option<Self> {
        let scope = |name: &str| Scope::ALL.into_iter().find(|it| it.as_str() == name);
        text.split(',').map(scope).collect()
    }

    /// Administration implies everything.
    pub fn allow(self, scope: Scope) -> bool {
        self.0 & (scope.bit() | Scope::Admin.bit()) != 0
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        Scope::ALL.into_iter().filter(move |it| self.0 & it.bit() != 0).map(Scope::as_str)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(","))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_lists_of_known_names_and_administration_is_all_of_them() {
        assert_eq!(Scopes::parse("read,ingest").unwrap().to_string(), "ingest,read");
        for wrong in ["", "write", "read,", "read ,ingest", "Read"] {
            assert_eq!(Scopes::parse(wrong), None, "{wrong}");
        }
        let [ingest, admin] = ["ingest", "admin"].map(|it| Scopes::parse(it).unwrap());
        assert_eq!(Scope::ALL.map(|it| ingest.allow(it)), [true, false, false]);
        assert_eq!(Scope::ALL.map(|it| admin.allow(it)), [true; 3]);
    }
}
