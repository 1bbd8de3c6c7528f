//! Who asks, and what he says beside the mail. The caller is the peer of the socket, as the
//! kernel names him, or the owner of a token; a name in `Novacula-Reporter` is believed from
//! configured users only. One person has one name at every door: see [`People::person`].

use axum::http::{HeaderMap, StatusCode};
use novacula_catalog::{Filter, Reporter, Stage, Time};
use novacula_client::{Authentication, header};

use super::{Call, Peer, People, Refusal};
use crate::agent::Caller;

/// Longest name of a reporter, in bytes (as an address).
const NAME_LEN_MAX: usize = 254;

/// Reads the `Novacula-*` fields, as far as this peer is believed. An unknown one is an error,
/// because a misspelt `Novacula-Delivery` would silently count nothing.
pub(super) fn caller(headers: &HeaderMap, peer: &Peer, people: &People) -> Result<Caller, Refusal> {
    let (peer_name, administrator, believed_user) = match peer {
        Peer::Uid(uid) => {
            let name = uzers::get_user_by_uid(*uid)
                .map(|user| user.name().to_string_lossy().into_owned())
                .unwrap_or_else(|| format!("uid {uid}"));
            let listed =
                |list: &[String]| list.iter().any(|user| *user == name || *user == uid.to_string());
            // Who runs the agent owns its data anyway.
            let own = *uid == rustix::process::geteuid().as_raw();
            let administrator = own || listed(&people.administrators);
            let believed = administrator || listed(&people.believed);
            (name, administrator, believed)
        }
        // A mail client speaks for its user and for nobody else, whoever that user is.
        Peer::Owner(owner) => (people.person(owner), false, false),
        Peer::Nobody => (String::new(), false, false),
    };
    let mut caller = Caller {
        delivery: false,
        pending: false,
        authentication: None,
        received: None,
        reporter: Reporter { name: peer_name.clone(), administrator },
        trap: false,
        all: false,
        believed: believed_user,
        client: None,
        bounce: false,
        recipients: 1,
        location: String::new(),
        filter: Filter::Unknown,
        stage: Stage::default(),
    };
    let fields = headers.iter().filter(|(name, _)| name.as_str().starts_with("novacula-"));
    for (name, value) in fields {
        let name = name.as_str();
        let value = value.to_str().unwrap_or_default();
        // Who speaks for others or for a trap must be known to tell the truth.
        let needs_belief = name == header::REPORTER || name == header::SOURCE;
        // Mail lies in a client's folders when it has been delivered.
        let delivers = name == header::DELIVERY && !matches!(peer, Peer::Uid(_));
        if needs_belief || delivers {
            believed(&caller, name)?;
        }
        if name != header::REPORTER {
            set(&mut caller, name, value)?;
            continue;
        }
        if value.is_empty() || value.len() > NAME_LEN_MAX {
            return Err(must_be(name, "a user's name", value));
        }
        caller.reporter = Reporter { name: people.person(value), administrator: false };
    }
    Ok(caller)
}

impl People {
    /// One name for one person: a mailbox of this host's own domain is the user of that name.
    pub(super) fn person(&self, name: &str) -> String {
        let Some((local, domain)) = name.rsplit_once('@') else { return name.to_owned() };
        if !self.user_domain.is_empty() && domain.eq_ignore_ascii_case(&self.user_domain) {
            return local.to_ascii_lowercase();
        }
        name.to_ascii_lowercase()
    }
}

impl Call {
    /// One name for one person, by the settings of now.
    pub(super) fn person(&self, name: &str) -> String {
        let people = self.shared.people.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        people.person(name)
    }
}

/// Only who is believed may do this.
pub(super) fn believed(caller: &Caller, what: &str) -> Result<(), Refusal> {
    if caller.believed {
        return Ok(());
    }
    let user = &caller.reporter.name;
    let text = format!("{what}: user {user} may not speak for others; name it in believed_users");
    Err(Refusal(StatusCode::FORBIDDEN, text))
}

fn set(caller: &mut Caller, name: &str, value: &str) -> Result<(), Refusal> {
    match (name, value) {
        (header::DELIVERY, "now") => caller.delivery = true,
        (header::DELIVERY, "pending") => caller.pending = true,
        (header::DELIVERY, _) => return Err(must_be(name, "now or pending", value)),
        (header::AUTHENTICATION, "pass") => caller.authentication = Some(Authentication::Pass),
        (header::AUTHENTICATION, "fail") => caller.authentication = Some(Authentication::Fail),
        (header::AUTHENTICATION, _) => return Err(must_be(name, "pass or fail", value)),
        (header::SOURCE, "trap") => caller.trap = true,
        (header::SOURCE, _) => return Err(must_be(name, "trap", value)),
        (header::CLIENT, _) => {
            let client = value.parse().map_err(|_| must_be(name, "an IP address", value))?;
            caller.client = Some(client);
        }
        (header::RECIPIENTS, _) => {
            let count = value.parse().map_err(|_| must_be(name, "a whole number", value))?;
            caller.recipients = count;
        }
        (header::LOCATION, _) => caller.location = value.chars().take(NAME_LEN_MAX).collect(),
        (header::SENDER, _) => caller.bounce = value.is_empty(),
        (header::FILTER, "ham") => caller.filter = Filter::Ham,
        (header::FILTER, "grey") => caller.filter = Filter::Grey,
        (header::FILTER, "spam") => caller.filter = Filter::Spam,
        (header::FILTER, _) => return Err(must_be(name, "ham, grey or spam", value)),
        (header::STAGE, "mta") => caller.stage = Stage::Mta,
        (header::STAGE, "filter") => caller.stage = Stage::Filter,
        (header::STAGE, "mailbox") => caller.stage = Stage::Mailbox,
        (header::STAGE, _) => return Err(must_be(name, "mta, filter or mailbox", value)),
        (header::SCOPE, "all") => caller.all = true,
        (header::SCOPE, _) => return Err(must_be(name, "all", value)),
        (header::RECEIVED, _) => {
            let secs = value.parse();
            let needed = "a whole number of seconds since 1970";
            caller.received = Some(Time(secs.map_err(|_| must_be(name, needed, value))?));
        }
        _ => {
            let known = [
                header::DELIVERY,
                header::REPORTER,
                header::AUTHENTICATION,
                header::RECEIVED,
                header::SOURCE,
                header::SCOPE,
                header::CLIENT,
                header::SENDER,
                header::RECIPIENTS,
                header::LOCATION,
                header::FILTER,
                header::STAGE,
            ];
            let text = format!("unknown field {name}; known are {}", known.join(", "));
            return Err(Refusal(StatusCode::BAD_REQUEST, text));
        }
    }
    Ok(())
}

fn must_be(name: &str, needed: &str, value: &str) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, format!("{name} must be {needed}, not {value:?}"))
}
