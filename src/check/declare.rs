//! The declaration of a rule: the one place that says what it is, reads and needs.

use std::fmt;

use crate::check::finding::Severity;
use crate::check::invariant::Invariant;
use crate::check::settings::Setting;
use crate::log::schema::Table;

/// The columns of one table that a rule reads.
#[derive(Clone, Copy, Debug)]
pub struct Reads {
    /// The table.
    pub table: Table,
    /// Its columns; none if the rule is about rows as such.
    pub columns: &'static [&'static str],
}

/// A rule.
pub struct Declaration {
    /// The stable id, such as `M002`.
    pub id: &'static str,
    /// The id in words.
    pub name: &'static str,
    /// The user's page: first a sentence, then why, blind spots, an example.
    pub doc: &'static str,
    /// What must be there for the rule to be checked.
    pub reads: &'static [Reads],
    /// What is used too where it is there.
    pub also: &'static [Reads],
    /// Settings without which the rule cannot be checked.
    pub needs: &'static [Setting],
    /// What a finding of the rule says of the log.
    pub severity: Severity,
    /// The source file.
    pub file: &'static str,
    /// A fresh rule for one run.
    pub make: fn() -> Box<dyn Invariant>,
}

impl Declaration {
    /// The documentation without the blanks that comments begin with.
    #[must_use]
    pub fn page(&self) -> String {
        let lines: Vec<_> =
            self.doc.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        lines.join("\n").trim_end().to_owned()
    }

    /// The first sentence of the documentation.
    #[must_use]
    pub fn summary(&self) -> String {
        let page = self.page();
        page.split("\n\n").next().unwrap_or_default().replace('\n', " ")
    }
}

impl fmt::Debug for Declaration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

/// Declares a rule: its page is the doc comment, its check the type behind `=>`.
macro_rules! declare_invariant {
    (
        $(#[doc = $doc:literal])*
        pub static $id:ident = {
            name: $name:literal,
            reads: [$( $table:ident $( ( $($column:ident),* $(,)? ) )? ),* $(,)?],
            $( also: [$( $atable:ident $( ( $($acolumn:ident),* $(,)? ) )? ),* $(,)?], )?
            $( needs: [$($setting:ident),* $(,)?], )?
            severity: $severity:ident $(,)?
        } => $check:ty
    ) => {
        $(#[doc = $doc])*
        pub static $id: $crate::check::Declaration = $crate::check::Declaration {
            id: stringify!($id),
            name: $name,
            doc: concat!($($doc, "\n"),*),
            reads: &[$( $crate::check::Reads {
                table: $crate::log::schema::Table::$table,
                columns: &[$( $(stringify!($column)),* )?],
            } ),*],
            also: &[$( $( $crate::check::Reads {
                table: $crate::log::schema::Table::$atable,
                columns: &[$( $(stringify!($acolumn)),* )?],
            } ),* )?],
            needs: &[$( $( $crate::check::Setting::$setting ),* )?],
            severity: $crate::check::Severity::$severity,
            file: file!(),
            make: || Box::new(<$check>::default()),
        };
    };
}

pub(crate) use declare_invariant;
