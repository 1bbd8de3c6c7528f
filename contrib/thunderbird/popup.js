// The toolbar button: what the network knows of the open mail, and report, not spam, undo.

/* global messenger, Agent, t, say */

const at = id => document.getElementById(id);

const VERDICTS = {
  spam: "verdictSpam",
  bulk: "verdictBulk",
  contested: "verdictContested",
  unknown: "verdictUnknown",
  allowed: "verdictAllowed",
  "no-evidence": "verdictNoEvidence",
};

async function openMail() {
  const [tab] = await messenger.tabs.query({ active: true, currentWindow: true });
  const found = await messenger.messageDisplay.getDisplayedMessages(tab.id);
  const messages = found.messages || found;
  if (messages.length !== 1) {
    throw new Error(t("errorOneMail"));
  }
  return messages[0];
}

function show(answer) {
  const verdict = at("verdict");
  say(verdict, t(VERDICTS[answer.verdict] || "verdictUnknown", [String(answer.confidence)]));
  verdict.className = `verdict ${VERDICTS[answer.verdict] ? answer.verdict : ""}`;
  at("places").textContent = String(answer.spread);
  at("since").textContent = answer.first_seen
    ? new Date(answer.first_seen).toLocaleString(messenger.i18n.getUILanguage(), {
        dateStyle: "medium",
        timeStyle: "short",
      })
    : t("neverSeen");
  at("reports").textContent = String(answer.reports);
  at("revokes").textContent = String(answer.revokes);
  at("facts").hidden = false;
}

async function look() {
  try {
    show(await Agent.check(await openMail()));
  } catch (error) {
    at("facts").hidden = true;
    say(at("verdict"), error.message, true);
  }
}

async function act(what) {
  say(at("note"), t("asking"));
  try {
    const reply = await Agent.opine(what, await openMail());
    say(at("note"), reply.note);
    await look();
  } catch (error) {
    say(at("note"), error.message, true);
  }
}

for (const what of ["report", "revoke", "withdraw"]) {
  at(what).addEventListener("click", () => act(what));
}
look();
