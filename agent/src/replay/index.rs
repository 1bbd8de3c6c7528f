//! The index of a corpus: a tab-separated file with a header line, in order of time.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use novacula_catalog::Filter;

/// One mail of a corpus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The mail's file, relative to the corpus's root.
    pub path: String,
    /// `spam`, `ham`, or another word for what is only watched.
    pub label: String,
    /// When it was received, in seconds since 1970.
    pub time_secs: u64,
    /// Where it was received.
    pub site: String,
    /// Which mails are the same; empty when it is the only one of its kind.
    pub campaign: String,
    /// How much it was altered; empty when not said.
    pub level: String,
    /// Where it comes from; empty when not said.
    pub corpus: String,
    /// What a content filter at its site thought of it.
    pub filter: Filter,
}

/// What can be wrong with an index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// It can't be read.
    #[error("read the index {path}: {source}")]
    File {
        /// The index.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The header line lacks a column.
    #[error(
        "read the index {path}: its first line names no column {column:?}; path, label, time and site are needed, separated by tabs"
    )]
    Column {
        /// The index.
        path: PathBuf,
        /// The missing column.
        column: &'static str,
    },
    /// A line is wrong.
    #[error("read the index {path}: line {line}: {reason}")]
    Line {
        /// The index.
        path: PathBuf,
        /// Its line, counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Reads an index.
///
/// # Errors
/// [`IndexError`], with the line to mend.
pub fn read_index(path: &Path) -> Result<Vec<Row>, IndexError> {
    let text = fs::read_to_string(path)
        .map_err(|source| IndexError::File { path: path.to_owned(), source })?;
    let mut lines = text.lines().enumerate();
    let header = lines.next().map(|(_, line)| line).unwrap_or_default();
    let columns: HashMap<&str, usize> =
        header.split('\t').enumerate().map(|(at, name)| (name.trim(), at)).collect();
    for column in ["path", "label", "time", "site"] {
        if !columns.contains_key(column) {
            return Err(IndexError::Column { path: path.to_owned(), column });
        }
    }
    let mut rows: Vec<Row> = Vec::new();
    for (at, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let wrong =
            |reason: String| IndexError::Line { path: path.to_owned(), line: at + 1, reason };
        let cells: Vec<&str> = line.split('\t').collect();
        let cell = |name: &str| {
            let value =
                columns.get(name).and_then(|at| cells.get(*at)).copied().unwrap_or_default();
            if value == "-" { String::new() } else { value.trim().to_owned() }
        };
        let time = cell("time");
        let time_secs = time.parse().map_err(|_| {
            wrong(format!("time {time:?} is no whole number of seconds since 1970"))
        })?;
        if rows.last().is_some_and(|before| before.time_secs > time_secs) {
            return Err(wrong("it is earlier than the line before; sort the index by time".into()));
        }
        let row = Row {
            path: cell("path"),
            label: cell("label"),
            time_secs,
            site: cell("site"),
            campaign: cell("campaign"),
            level: cell("level"),
            corpus: cell("corpus"),
            filter: leaning(&cell("sa_score")),
        };
        if row.path.is_empty() || row.site.is_empty() {
            return Err(wrong("path or site is empty".into()));
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Points of SpamAssassin from which a mail leans to spam, and under which to ham: its default
/// threshold, and the point where spam gets rare (docs/measurements.md, "Pooled filters").
const SPAM_POINTS_MIN: f64 = 5.0;
const HAM_POINTS_MAX: f64 = 2.0;

fn leaning(score: &str) -> Filter {
    match score.parse::<f64>() {
        Ok(points) if points >= SPAM_POINTS_MIN => Filter::Spam,
        Ok(points) if points < HAM_POINTS_MAX => Filter::Ham,
        Ok(_) => Filter::Grey,
        Err(_) => Filter::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<usize, &str>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        match (read_index(file.path()), expected) {
            (Ok(rows), Ok(count)) => assert_eq!(rows.len(), count, "{text:?}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (other, _) => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        check("path\tlabel\ttime\tsite\na\tspam\t1\ts\n\nb\tham\t2\tt\n", Ok(2));
        check("site\ttime\tlabel\tpath\textra\ns\t1\tspam\ta\tx\n", Ok(1));
        check("path\tlabel\ttime\n", Err("\"site\""));
        check("", Err("\"path\""));
        check("path\tlabel\ttime\tsite\na\tspam\tnoon\ts\n", Err("line 2: time \"noon\""));
        check(
            "path\tlabel\ttime\tsite\na\tspam\t2\ts\nb\tspam\t1\ts\n",
            Err("line 3: it is earlier"),
        );
        check("path\tlabel\ttime\tsite\n\tspam\t2\ts\n", Err("line 2: path or site"));
    }
}
