//! What the site's people have: their own opinions, and mail clients that speak for them.

use novacula_catalog::store::Save;
use novacula_catalog::{Act, KEEP_SECS, Reporter, Time, Token};
use novacula_client::{OwnOpinion, Pairing, TokenInfo, TokenReply};

use super::{Agent, AgentError};
use crate::line::to_hex;
use crate::maillog;
use crate::pairing::CODE_SECS;

/// Mail clients that one user may pair.
const TOKENS_MAX: usize = 20;

/// Longest name of a mail client, in characters.
const LABEL_CHARS_MAX: usize = 80;

/// Random bytes of a token.
const TOKEN_LEN: usize = 32;

impl Agent {
    /// What this person said and did not take back.
    #[must_use]
    pub fn said_by(&self, who: &Reporter, now: Time) -> Vec<OwnOpinion> {
        let own = self.state().acts.by(&who.name);
        own.into_iter()
            .map(|(_, said)| OwnOpinion {
                act: match said.act {
                    Act::Report => "report",
                    Act::TrapReport => "trap-report",
                    Act::Revoke => "revoke",
                }
                .into(),
                acted: said.occasion.acted.rfc3339(),
                received: (said.occasion.received.0 != 0).then(|| said.occasion.received.rfc3339()),
                id: format!("{:016x}", said.occasion.digest),
                home_only: now.secs_since(said.occasion.received) > KEEP_SECS,
            })
            .collect()
    }

    /// A code with which a mail client may become this user's.
    ///
    /// # Errors
    /// When the caller asks for another and is no administrator, or there is no randomness.
    pub fn pair(&self, user: &str, who: &Reporter, now: Time) -> Result<Pairing, AgentError> {
        if user != who.name && !who.administrator {
            return Err(AgentError::NotAdministrator("pair a mail client for somebody else"));
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| AgentError::Random(error.to_string()))?;
        let code = self.pairings().issue(user, random, now);
        Ok(Pairing { user: user.to_owned(), code, secs: CODE_SECS })
    }

    /// Exchanges a code for a token. When this returns Ok its hash is on the disk.
    ///
    /// # Errors
    /// When the code is wrong or old, the user has too many clients, or the disk refuses.
    pub async fn redeem(
        &self,
        code: &str,
        label: &str,
        now: Time,
    ) -> Result<TokenReply, AgentError> {
        let user = self.pairings().redeem(code, now).ok_or(AgentError::Code)?;
        let mut random = [0; TOKEN_LEN];
        getrandom::fill(&mut random).map_err(|error| AgentError::Random(error.to_string()))?;
        let token = to_hex(&random);
        let label: String =
            label.chars().filter(|c| !c.is_control()).take(LABEL_CHARS_MAX).collect();
        let hash = *blake3::hash(token.as_bytes()).as_bytes();
        let kept = Token { hash, user: user.clone(), label, made: now };
        let _one_at_a_time = self.speaking.lock().await;
        let of_user = self.state().tokens.values().filter(|token| token.user == user).count();
        if of_user >= TOKENS_MAX {
            return Err(AgentError::TooManyTokens(TOKENS_MAX));
        }
        self.disk.save_now(vec![Save::Token(kept.clone())]).await.map_err(AgentError::Write)?;
        self.state().tokens.insert(hash, kept);
        maillog::paired(&user, false);
        Ok(TokenReply { token, user })
    }

    /// Whom this token speaks for.
    #[must_use]
    pub fn token_owner(&self, token: &str) -> Option<String> {
        let hash = blake3::hash(token.as_bytes());
        self.state().tokens.get(hash.as_bytes()).map(|token| token.user.clone())
    }

    /// The mail clients of this user; an administrator sees everybody's.
    #[must_use]
    pub fn tokens(&self, who: &Reporter) -> Vec<TokenInfo> {
        let state = self.state();
        let own = |token: &&Token| who.administrator || token.user == who.name;
        let mut tokens: Vec<&Token> = state.tokens.values().filter(own).collect();
        tokens.sort_by_key(|token| (&token.user, token.made, token.hash));
        let info = |token: &&Token| TokenInfo {
            id: token_id(token),
            user: token.user.clone(),
            label: token.label.clone(),
            made: token.made.rfc3339(),
        };
        tokens.iter().map(info).collect()
    }

    /// A mail client may speak for its user no longer.
    ///
    /// # Errors
    /// When the caller has no such client, or the disk refuses.
    pub async fn unpair(&self, id: &str, who: &Reporter) -> Result<(), AgentError> {
        let _one_at_a_time = self.speaking.lock().await;
        let found = self
            .state()
            .tokens
            .values()
            .find(|token| {
                (who.administrator || token.user == who.name) && token_id(token) == id.trim()
            })
            .cloned()
            .ok_or(AgentError::NoToken)?;
        self.disk.save_now(vec![Save::Untoken(found.hash)]).await.map_err(AgentError::Write)?;
        self.state().tokens.remove(&found.hash);
        maillog::paired(&found.user, true);
        Ok(())
    }
}

/// By what a token is named without being told: the first bytes of its hash.
fn token_id(token: &Token) -> String {
    to_hex(&token.hash[..4])
}
