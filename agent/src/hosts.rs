//! Many hosts of one site: one machine keeps the site's key and certifies the others, each of
//! which then speaks for the site with a key of its own and numbers of its own.
//!
//! Key decision: it works on files of the data directory and needs no agent, so that the machine
//! with the key may be one that takes no mail and is never on line. The file `hosts` beside the
//! key keeps which host has which lane: a lane is given once and never again to another host.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use novacula_catalog::node::{HostCertificate, NodeId};
use novacula_catalog::{Identity, IdentityError, SiteId, Speaker, Time};

use crate::line::{of_summed, summed};

/// The site's key.
const IDENTITY: &str = "identity";
/// This host's key.
const HOST: &str = "host";
/// The site's word for this host, where the site's key lies elsewhere.
const CERTIFICATE: &str = "certificate";
/// Which host has which lane, beside the site's key.
const HOSTS: &str = "hosts";
/// What every certificate's line begins with; the figure is its version.
const PREFIX: &str = "nvh1";
/// Longest line of one after that, in digits (a choice): 102 bytes and the checksum are 212.
const LEN_MAX: usize = 1024;
/// Longest file of lanes that is read, in bytes: 65,535 lines of 72.
const HOSTS_LEN_MAX: u64 = 8 << 20;

/// What can be wrong with the hosts of a site.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A key file.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Another file.
    #[error("use the file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Two files that say who this is.
    #[error(
        "use the data directory {0}: it holds an identity and a certificate; a host speaks for one site: move `identity` and `catalog.db` away to speak under the certificate, or `certificate` to be the site that it was"
    )]
    TwoSites(PathBuf),
    /// The certificate does not hold.
    #[error(
        "use the certificate {0}: it is for another host, or out of date; on the machine with the site's key run `novacula identity certify {1}`, and here `novacula identity adopt` with what it prints"
    )]
    Certificate(PathBuf, NodeId),
    /// A line that is no certificate.
    #[error("read the certificate: a part of it is missing; copy the whole line")]
    Cut,
    /// It is for another host.
    #[error("accept the certificate: it is out of date, or for another host than this one, {0}")]
    Foreign(NodeId),
    /// The site's key is not here.
    #[error(
        "use the site's key: it is not in {0}; certify on the machine that has it, as the user who owns it"
    )]
    NoKey(PathBuf),
    /// All lanes are given.
    #[error("certify another host: the site has 65,535 already")]
    Full,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> HostError {
    let path = path.to_owned();
    |source| HostError::File { path, source }
}

/// Who speaks on this host: under a certificate where one was adopted, else with the site's key,
/// which is made at the first start.
///
/// # Errors
/// [`HostError`], each with what to mend.
pub fn speaker(dir: &Path, now: Time) -> Result<Speaker, HostError> {
    let path = dir.join(CERTIFICATE);
    let line = match fs::read_to_string(&path) {
        Ok(line) => line,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Speaker::with_site_key(Identity::load_or_create(&dir.join(IDENTITY))?));
        }
        Err(error) => return Err(failed(&path)(error)),
    };
    if dir.join(IDENTITY).exists() {
        return Err(HostError::TwoSites(dir.to_owned()));
    }
    let host = host_key(dir)?;
    let node = NodeId::of(&host);
    let speaker = parse(&line).and_then(|certificate| Speaker::certified(host, certificate, now));
    speaker.ok_or(HostError::Certificate(path, node))
}

/// This host's key, made where there is none.
///
/// # Errors
/// [`HostError`].
pub fn host_key(dir: &Path) -> Result<Identity, HostError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed(dir))?;
    Ok(Identity::load_or_create(&dir.join(HOST))?)
}

/// The site whose key lies in `dir` certifies a host: its line, and its lane.
///
/// # Errors
/// [`HostError`].
pub fn certify(dir: &Path, host: NodeId, until: Time) -> Result<(String, u16), HostError> {
    let key = dir.join(IDENTITY);
    if !key.exists() {
        return Err(HostError::NoKey(dir.to_owned()));
    }
    let site = Identity::load_or_create(&key)?;
    let lane = lane(&dir.join(HOSTS), host)?;
    Ok((to_line(&HostCertificate::issue_lane(&site, host, until, lane)), lane))
}

/// This host takes the certificate in; from its next start on it speaks for that site.
///
/// # Errors
/// [`HostError`]; nothing has changed then.
pub fn adopt(dir: &Path, line: &str, now: Time) -> Result<SiteId, HostError> {
    let certificate = parse(line).ok_or(HostError::Cut)?;
    let host = host_key(dir)?;
    let node = NodeId::of(&host);
    let site = certificate.site;
    if Speaker::certified(host, certificate, now).is_none() {
        return Err(HostError::Foreign(node));
    }
    if dir.join(IDENTITY).exists() {
        return Err(HostError::TwoSites(dir.to_owned()));
    }
    let path = dir.join(CERTIFICATE);
    let fresh = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&fresh)?;
        file.write_all(format!("{}\n", line.trim()).as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(failed(&path))?;
    Ok(site)
}

/// The host's lane: the one that it has, or the next.
fn lane(path: &Path, host: NodeId) -> Result<u16, HostError> {
    let open = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
    let mut file = open.map_err(failed(path))?;
    // Two who certify at once take their turns.
    file.lock().map_err(failed(path))?;
    let mut text = String::new();
    (&mut file).take(HOSTS_LEN_MAX).read_to_string(&mut text).map_err(failed(path))?;
    let damaged = || {
        let text = "a line is not LANE HOST; restore it from a copy: a lane given twice would make the site lie";
        HostError::File { path: path.to_owned(), source: io::Error::other(text) }
    };
    let mut last = 0;
    for line in text.lines() {
        let (lane, of) = line.split_once(' ').ok_or_else(damaged)?;
        let lane: u16 = lane.parse().map_err(|_| damaged())?;
        let of: SiteId = of.parse().map_err(|_| damaged())?;
        if of.0 == host.0 {
            return Ok(lane);
        }
        last = last.max(lane);
    }
    let lane = last.checked_add(1).ok_or(HostError::Full)?;
    file.write_all(format!("{lane} {host}\n").as_bytes()).map_err(failed(path))?;
    file.sync_all().map_err(failed(path))?;
    Ok(lane)
}

fn to_line(certificate: &HostCertificate) -> String {
    summed(PREFIX, certificate.to_bytes())
}

fn parse(line: &str) -> Option<HostCertificate> {
    HostCertificate::decode(&of_summed(PREFIX, line, LEN_MAX)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_800_000_000);
    const UNTIL: Time = Time(1_900_000_000);

    #[test]
    fn each_host_has_a_lane_of_its_own_for_good() {
        let (key, hosts) = (tempfile::tempdir().unwrap(), [(); 3].map(|()| tempfile::tempdir()));
        let site = speaker(key.path(), NOW).unwrap().site();
        let mut lanes = Vec::new();
        for dir in hosts.iter().map(|dir| dir.as_ref().unwrap().path()) {
            let node = NodeId::of(&host_key(dir).unwrap());
            let (line, lane) = certify(key.path(), node, UNTIL).unwrap();
            assert_eq!(certify(key.path(), node, UNTIL).unwrap().1, lane, "the same again");
            assert!(matches!(adopt(dir, &line[..line.len() - 2], NOW), Err(HostError::Cut)));
            assert_eq!(adopt(dir, &line, NOW).unwrap(), site);
            let speaker = speaker(dir, NOW).unwrap();
            assert_eq!((speaker.site(), speaker.lane()), (site, lane));
            assert!(speaker.site_key().is_none() && !dir.join(IDENTITY).exists());
            lanes.push(lane);
        }
        assert_eq!(lanes, [1, 2, 3]);
    }

    #[test]
    fn what_is_wrong_says_what_mends_it() {
        let (key, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let node = NodeId::of(&host_key(dir.path()).unwrap());
        let no_key = certify(dir.path(), node, UNTIL).unwrap_err().to_string();
        assert!(no_key.contains("machine that has it"), "{no_key}");
        let _ = speaker(key.path(), NOW).unwrap();
        let (line, _) = certify(key.path(), NodeId([7; 32]), UNTIL).unwrap();
        assert!(matches!(adopt(dir.path(), &line, NOW), Err(HostError::Foreign(of)) if of == node));
        let (line, _) = certify(key.path(), node, UNTIL).unwrap();
        let late = Time(UNTIL.0 + 1_000);
        assert!(matches!(adopt(dir.path(), &line, late), Err(HostError::Foreign(_))));
        assert_eq!(
            adopt(dir.path(), &line, NOW).unwrap(),
            speaker(key.path(), NOW).unwrap().site()
        );
        let old = speaker(dir.path(), late).err().unwrap().to_string();
        assert!(old.contains("identity certify"), "{old}");
        fs::write(key.path().join(CERTIFICATE), &line).unwrap();
        let two = speaker(key.path(), NOW).err().unwrap().to_string();
        assert!(two.contains("move `identity`"), "{two}");
        fs::write(key.path().join(HOSTS), "one host\n").unwrap();
        assert!(certify(key.path(), node, UNTIL).is_err(), "a damaged list gives no lane");
    }
}
