"""Drives the real Thunderbird, headless: pairs the extension, presses Junk and Not Junk, opens its
panel, and lets a hostile page try. Called by root/thunderbird.rs inside a private network:
thunderbird.py PLACE NOVACULA XPI GOLDEN; the agent runs already, with its TCP door at 8825.
Prints what it saw, a line each; a failed assertion ends it."""

import base64, functools, http.server, json, os, pathlib, subprocess, sys, threading, time

from marionette_driver.marionette import Marionette

PLACE, NOVACULA, XPI, GOLDEN = sys.argv[1:]
PLACE, GOLDEN = pathlib.Path(PLACE), pathlib.Path(GOLDEN)
ID = "novacula@novacula.example"
SPAM, HAM = "04-spam-plain.eml", "01-ham-personal.eml"
PREFS = {
    "extensions.autoDisableScopes": 0,
    "xpinstall.signatures.required": False,
    "mail.accountmanager.accounts": "account1",
    "mail.accountmanager.localfoldersserver": "server1",
    "mail.account.account1.server": "server1",
    "mail.server.server1.type": "none",
    "mail.server.server1.hostname": "Local Folders",
    "mail.server.server1.userName": "nobody",
    "mail.server.server1.name": "Local Folders",
    "mail.server.server1.directory-rel": "[ProfD]Mail/Local Folders",
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.spotlight.firstRunDone": True,
    "mail.rights.version": 1,
    "mailnews.start_page.enabled": False,
    "mail.shell.checkDefaultClient": False,
    "mailnews.ui.junk.firstuse": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.donation.eoy.version.viewed": 999,
    "app.update.enabled": False,
    "intl.locale.requested": "en-US",
}

# Where a page asks the agent to report a mail: once blindly, once with a token of its own making.
HOSTILE = pathlib.Path(__file__).with_name("hostile.html").read_text()

HELPERS = """
const win = Services.wm.getMostRecentWindow("mail:3pane");
const tabmail = win.document.getElementById("tabmail");
const wait = ms => new Promise(done => win.setTimeout(done, ms));
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const until = async (what, get) => {
  for (let at = 0; at < 200; at++) {
    const found = await get();
    if (found) return found;
    await wait(100);
  }
  throw new Error("not within 20 s: " + what);
};
const inPage = (browser, code) => new Promise((resolve, reject) => {
  const name = "novacula-test-" + Math.random();
  browser.messageManager.addMessageListener(name, message =>
    "error" in message.data ? reject(new Error(message.data.error)) : resolve(message.data.value));
  browser.messageManager.loadFrameScript("data:," + encodeURIComponent(
    `(async () => { const { document } = content;
       const until = async get => { for (let at = 0; at < 200; at++) { const found = get();
         if (found) return found; await new Promise(done => content.setTimeout(done, 100)); }
         throw new Error("not within 20 s: " + document.body.innerText); };
       ${code} })().then(
       value => sendAsyncMessage("${name}", { value }),
       error => sendAsyncMessage("${name}", { error: String(error) }))`), false);
});
const pane = () => tabmail.currentAbout3Pane;
const openPage = async url => {
  const triggeringPrincipal = url.startsWith("moz-extension:")
    ? WebExtensionPolicy.getByID("%s").extension.principal
    : Services.scriptSecurityManager.createNullPrincipal({});
  const tab = tabmail.openTab("contentTab", { url, triggeringPrincipal, linkHandler: "single-page" });
  await until(url, () => tab.browser.currentURI.spec === url && !tab.busy);
  return tab.browser;
};
const panel = async () => {
  const { document } = tabmail.currentAboutMessage;
  document.querySelector("toolbarbutton[id^=novacula]").click();
  const all = () => [...document.querySelectorAll("browser"), ...win.document.querySelectorAll("browser")];
  return until("the panel", () => all().find(one => one.currentURI?.spec.endsWith("/popup.html")));
};
""" % ID


def nova(*args, **more):
    return subprocess.run([NOVACULA, *args], capture_output=True, text=True, **more)


def said():
    """What ann said, the latest first, as (act, mail)."""
    lines = nova("report", "--list", "--as", "ann", "--json").stdout.splitlines()
    return [(one["act"], one["id"]) for one in map(json.loads, lines)]


def checked(name):
    return json.loads(nova("check", "--json", str(GOLDEN / name)).stdout)


def wait_for(what, get):
    until = time.time() + 20
    while time.time() < until:
        found = get()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within 20 s: {what}")


def profile():
    root = PLACE / "profile"
    mails = root / "Mail" / "Local Folders"
    mails.mkdir(parents=True)
    (root / "extensions").mkdir()
    (root / "extensions" / f"{ID}.xpi").write_bytes(pathlib.Path(XPI).read_bytes())
    prefs = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFS.items()]
    (root / "user.js").write_text("".join(prefs))
    with open(mails / "Mails", "wb") as box:
        for name in (SPAM, HAM):
            box.write(b"From - Tue Feb 24 03:11:27 2026\n" + (GOLDEN / name).read_bytes() + b"\n")
    return root


def main():
    log = open(PLACE / "thunderbird.log", "wb")
    flags = ["--headless", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile"]
    thunderbird = subprocess.Popen(["thunderbird", *flags, str(profile())], stdout=log, stderr=log)
    try:
        client = Marionette("127.0.0.1", 2828)
        client.raise_for_port(timeout=60)
        client.start_session()
        scenario(client)
    finally:
        thunderbird.terminate()
        thunderbird.wait(20)


def scenario(client):
    client.set_context("chrome")
    client.timeout.script = 60

    def chrome(code, *args):
        script = "const args = Array.from(arguments); const done = args.pop();" + \
            f"(async () => {{ {HELPERS} {code} }})()" + \
            ".then(value => done({ value }), error => done({ error: String(error) }));"
        answer = client.execute_async_script(script, script_args=args)
        assert "error" not in answer, answer["error"]
        return answer.get("value")

    def picture(name):
        folder = os.environ.get("NOVACULA_PICTURES")
        if folder:
            pathlib.Path(folder, name + ".png").write_bytes(base64.b64decode(client.screenshot()))

    host = wait_for("the extension", lambda: chrome(
        f'return WebExtensionPolicy.getByID("{ID}")?.mozExtensionHostname'))

    # Paired with the code that the agent's administrator gave.
    code = nova("pair", "ann").stdout.strip()
    status = chrome("""
        const browser = await openPage(`moz-extension://${args[0]}/options.html`);
        return inPage(browser, `await until(() => document.getElementById("status").textContent);
            document.getElementById("code").value = "${args[1]}";
            document.getElementById("pair").click();
            const status = document.getElementById("status");
            return until(() => status.textContent.startsWith("Paired") && status.textContent);`)""",
        host, code)
    assert "speaks for ann" in status, status
    picture("options")
    print("options:", status)
    # Every field has a label, every button a text, and the keyboard reaches them in order.
    bare = chrome("""return inPage(tabmail.currentTabInfo.browser, `return [...document.querySelectorAll(
        "input, button")].filter(one => one.tabIndex < 0 || !(one.textContent.trim() || one.labels.length)).length`)""")
    assert bare == 0, bare

    # Thunderbird's own buttons.
    chrome("""
        tabmail.switchToTab(0);
        const folder = MailServices.accounts.localFoldersServer.rootFolder.getChildNamed("Mails");
        pane().displayFolder(folder.URI);
        await until("the mails", () => pane().gDBView?.rowCount === 2);""")

    def select(word):
        chrome("""
            const view = pane().gDBView;
            for (let row = 0; row < view.rowCount; row++) {
              if (view.getMsgHdrAt(row).subject.includes(args[0])) pane().threadTree.selectedIndex = row;
            }
            const shown = () => pane().gDBView.hdrForFirstSelectedMessage?.subject.includes(args[0]);
            await until("the mail " + args[0], shown);
            await wait(700);""", word)

    press = lambda command: chrome("pane().commandController.doCommand(args[0]);", command)
    select("spring order")
    assert said() == []
    press("cmd_markAsJunk")
    spam = checked(SPAM)
    wait_for("the report", lambda: said() == [("report", spam["id"])])
    assert checked(SPAM)["verdict"] == "spam"
    print("junk: report arrived, the same mail by its first digest:", spam["id"])
    press("cmd_markAsNotJunk")
    wait_for("the revoke", lambda: said() == [("revoke", spam["id"])])
    print("not junk: revoke arrived")

    # Thunderbird's own filter marks a mail that nobody has selected.
    chrome("""
        const folder = MailServices.accounts.localFoldersServer.rootFolder.getChildNamed("Mails");
        const headers = [...folder.messages].filter(one => !one.subject.includes("spring order"));
        folder.setJunkScoreForMessages(headers, "100", "plugin", 97);
        await until("the mark", () => headers[0].getStringProperty("junkscore") === "100");
        await wait(1500);""")
    assert len(said()) == 1, said()
    print("automatic junk: silent")

    # The panel: what is known, report, undo.
    text = chrome("""
        const browser = await panel();
        return inPage(browser, `await until(() => !document.getElementById("facts").hidden);
            document.getElementById("report").click();
            const note = document.getElementById("note");
            await until(() => note.textContent.startsWith("reported"));
            await until(() => document.getElementById("verdict").textContent.startsWith("Spam"));
            return document.body.innerText;`)""")
    for part in ("Places that got it\n1", "First seen\n", "Say spam\n1", "this site now says spam"):
        assert part in text, (part, text)
    picture("panel")
    assert said() == [("report", spam["id"])]
    text = chrome("""
        const browser = await panel();
        return inPage(browser, `document.getElementById("withdraw").click();
            const note = document.getElementById("note");
            await until(() => note.textContent.startsWith("withdrawn"));
            return note.textContent;`)""")
    assert said() == []
    print("panel:", text)

    # Thunderbird moves what is marked away at once: the report finds it there.
    chrome('Services.prefs.setBoolPref("mail.spam.manualMark", true);'
           'Services.prefs.setIntPref("mail.spam.manualMarkMode", 1);')
    select("long weekend")
    press("cmd_markAsNotJunk")
    ham = checked(HAM)["id"]
    wait_for("the revoke", lambda: said() == [("revoke", ham)])
    press("cmd_markAsJunk")
    wait_for("the report", lambda: said() == [("report", ham)])
    left = chrome('await wait(1000); return pane().gDBView.rowCount;')
    assert left == 1, left
    print("junk that is moved: report arrived")
    nova("withdraw", "--as", "ann", str(GOLDEN / HAM))
    assert said() == []
    chrome("pane().threadTree.selectedIndex = 0;"
           'await until("the mail", () => pane().gDBView.hdrForFirstSelectedMessage?.subject.includes("spring"));')

    hostile(chrome)

    # The token is taken away: the person is told what to do.
    listed = nova("pair", "--list").stdout
    nova("pair", "--remove", listed.split()[0])
    text = chrome("""
        tabmail.switchToTab(0);
        await until("the message", () => tabmail.currentAboutMessage);
        const browser = await panel();
        return inPage(browser, `document.getElementById("report").click();
            const note = document.getElementById("note");
            await until(() => note.className === "error");
            return note.textContent;`)""")
    assert "Pair it again" in text and said() == [], text
    print("wrong token:", text)


def hostile(chrome):
    pages = PLACE / "pages"
    pages.mkdir()
    (pages / "evil.html").write_text(HOSTILE)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(pages))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 9000), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    title = chrome("""
        const browser = await openPage("http://127.0.0.1:9000/evil.html");
        return until("the page", () => browser.contentTitle !== "waiting" && browser.contentTitle);""")
    server.shutdown()
    # "opaque": the browser hides the answer, which was a refusal; see the test of the door.
    assert title == "opaque refused", title
    assert checked(HAM)["reports"] == 0 and said() == []
    print("hostile page:", title)


main()
