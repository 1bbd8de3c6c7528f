//! Where mails come from: files, standard input, mbox files, Maildirs and folders of any of
//! these. Mails are handed out one at a time, so that a mailbox of any size fits.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use novacula_agent::MAIL_LEN_MAX;

/// Longest piece of a line that is read at once, in bytes.
const LINE_LEN_MAX: u64 = 1 << 20;

/// What is called with the name and bytes of a mail, or why it can't be read.
type Each<'a> = &'a mut dyn FnMut(&str, anyhow::Result<Vec<u8>>) -> anyhow::Result<()>;

/// Calls `each` with the name and bytes of every mail under the paths; counts them. A mail that
/// can't be read is told to `each` as an error and the others go on.
pub(super) fn each_mail(paths: &[PathBuf], each: Each<'_>) -> anyhow::Result<usize> {
    let mut count = 0;
    let mut counted = |name: &str, mail: anyhow::Result<Vec<u8>>| {
        count += 1;
        each(name, mail)
    };
    for path in paths {
        if path.as_os_str() == "-" {
            let mut reader = BufReader::new(io::stdin().lock());
            if reader.fill_buf().context("read standard input")?.is_empty() {
                bail!("read standard input: it is empty; give it a mail");
            }
            mails_of("-", &mut reader, &mut counted)?;
            continue;
        }
        let found = files_under(path)?;
        if found.is_empty() {
            bail!("read {}: there is no mail in this folder", path.display());
        }
        for file in found {
            let name = file.display().to_string();
            match fs::File::open(&file) {
                Ok(open) => mails_of(&name, &mut BufReader::new(open), &mut counted)?,
                Err(error) => counted(&name, Err(error).with_context(|| format!("read {name}")))?,
            }
        }
    }
    Ok(count)
}

/// All files under a path, in order of name. Of a Maildir only `cur` and `new` hold mail.
fn files_under(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let about = fs::metadata(path).with_context(|| format!("read {}", path.display()))?;
    if !about.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let is_maildir = path.join("cur").is_dir() && path.join("new").is_dir();
    let mut names: Vec<PathBuf> = fs::read_dir(path)
        .with_context(|| format!("read {}", path.display()))?
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("read {}", path.display()))?
        .into_iter()
        .map(|entry| entry.path())
        .collect();
    names.sort();
    let mut files = Vec::new();
    for name in names {
        let last = name.file_name().unwrap_or_default().to_string_lossy();
        let is_dir = fs::metadata(&name).is_ok_and(|about| about.is_dir());
        // Beside its mails a Maildir holds only its subfolders (dot names) and counters.
        let of_maildir = last == "cur" || last == "new" || (is_dir && last.starts_with('.'));
        let skipped = if is_maildir { !of_maildir } else { last.starts_with('.') };
        // A loop of links would never end.
        let is_link_to_dir =
            is_dir && fs::symlink_metadata(&name).is_ok_and(|about| about.is_symlink());
        if skipped || is_link_to_dir {
            continue;
        }
        if is_dir {
            files.extend(files_under(&name)?);
        } else {
            files.push(name);
        }
    }
    Ok(files)
}

/// The mails of one file: one, or those of an mbox.
fn mails_of(name: &str, reader: &mut dyn BufRead, each: Each<'_>) -> anyhow::Result<()> {
    let start = reader.fill_buf().with_context(|| format!("read {name}"))?;
    if !start.starts_with(b"From ") {
        let mut mail = Vec::new();
        // One byte more than is looked at tells that there is more.
        let read = reader.take(MAIL_LEN_MAX as u64 + 1).read_to_end(&mut mail);
        return each(name, read.map(|_| mail).with_context(|| format!("read {name}")));
    }
    let mut number = 0;
    let mut mail = Vec::new();
    let mut line = Vec::new();
    let mut after_blank = true;
    loop {
        line.clear();
        // A longer line comes in pieces; only its first can be a separator.
        let mut piece = (&mut *reader).take(LINE_LEN_MAX);
        piece.read_until(b'\n', &mut line).with_context(|| format!("read {name}"))?;
        let separator = after_blank && line.starts_with(b"From ");
        if (separator || line.is_empty()) && number > 0 {
            // A mailbox that holds one mail is named like a mail.
            let last_and_only = line.is_empty() && number == 1;
            let of = if last_and_only { name.to_owned() } else { format!("{name}#{number}") };
            each(&of, Ok(std::mem::take(&mut mail)))?;
        }
        if line.is_empty() {
            return Ok(());
        }
        if separator {
            number += 1;
        } else if mail.len() <= MAIL_LEN_MAX {
            // mboxrd: one `>` was put before `From `, after any others.
            let quoted = line.iter().take_while(|byte| **byte == b'>').count();
            let escaped = quoted > 0 && line[quoted..].starts_with(b"From ");
            mail.extend_from_slice(if escaped { &line[1..] } else { &line });
        }
        after_blank = line == b"\n" || line == b"\r\n";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let mut out = Vec::new();
        mails_of("box", &mut text.as_bytes(), &mut |name, mail| {
            out.push((name.to_owned(), String::from_utf8(mail?)?));
            Ok(())
        })
        .unwrap();
        out
    }

    #[test]
    fn one_mail_or_a_mailbox() {
        let one = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert_eq!(read("A: b\n\nx\n"), [one("box", "A: b\n\nx\n")]);
        assert_eq!(read("From a\nA: b\n\nx\n"), [one("box", "A: b\n\nx\n")]);
        assert_eq!(
            read("From a\nA: 1\n\nx\n\nFrom b\nA: 2\n\nFrom here\n>From there\n>>From\n"),
            [
                one("box#1", "A: 1\n\nx\n\n"),
                one("box#2", "A: 2\n\n"),
                one("box#3", "From there\n>>From\n"),
            ]
        );
    }

    #[test]
    fn folders_and_maildirs() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["cur", "new", "tmp", ".Sent/cur", ".Sent/new"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for file in ["cur/1:2,S", "new/2", "tmp/3", "dovecot-uidlist", ".Sent/cur/4"] {
            fs::write(dir.path().join(file), "x").unwrap();
        }
        let names: Vec<String> = files_under(dir.path())
            .unwrap()
            .iter()
            .map(|file| file.strip_prefix(dir.path()).unwrap().display().to_string())
            .collect();
        assert_eq!(names, [".Sent/cur/4", "cur/1:2,S", "new/2"]);
        assert!(files_under(&dir.path().join("nothing")).is_err());
        assert!(files_under(&dir.path().join("tmp")).unwrap().len() == 1);
    }
}
