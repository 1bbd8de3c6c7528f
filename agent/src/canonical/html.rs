//! What a reader of HTML sees: text without markup, scripts and hidden elements, with a line
//! break at every block, and every address that the page would lead to. Inline tags join what
//! they stand between, so `vi<b></b>agra` is one word.
//!
//! The walk keeps a stack of open elements (bounded) because being hidden is inherited. Cost is
//! linear in the input: an end tag looks down the stack at most [`STACK_MAX`] elements.

use html5gum::Tokenizer;
use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use xxhash_rust::xxh3::xxh3_64;

use super::style::{Color, Sheet, Style, property};

/// Deepest nesting that is followed; what is deeper inherits from the last element kept.
const STACK_MAX: usize = 256;

/// Most text of a style sheet that is kept, in bytes; a longer one hides nothing.
const PAGE_SHEETS_MAX: usize = 128 << 10;

/// Most addresses taken from one page.
const HREFS_MAX: usize = 200;

/// Most addresses of pictures taken from one page.
const PICTURES_MAX: usize = 64;

/// The visible text and the addresses behind it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Visible {
    pub(super) text: String,
    pub(super) hrefs: Vec<String>,
    pub(super) pictures: Vec<String>,
}

/// Walks a page until `text_max` bytes of text are found.
pub(super) fn visible(html: &str, text_max: usize) -> Visible {
    let mut walk = Walk { text_max, ..Walk::default() };
    let emitter =
        CallbackEmitter::new(|event: CallbackEvent<'_>, _: html5gum::Span<()>| -> Option<()> {
            walk.event(&event);
            walk.full().then_some(())
        });
    // The first emitted value means: enough.
    let _ = Tokenizer::new_with_emitter(html, emitter).next();
    walk.out
}

/// An open element, and how what is inside it is seen.
#[derive(Clone, Copy, Debug)]
struct Element {
    /// Hash of its name.
    tag: u64,
    paragraph: bool,
    sheet: bool,
    quote: bool,
    /// The properties by which it is hidden ([`property`]).
    hidden: u8,
    color: Option<Color>,
    background: Color,
}

impl Default for Element {
    fn default() -> Self {
        Self {
            tag: 0,
            paragraph: false,
            sheet: false,
            quote: false,
            hidden: 0,
            color: None,
            background: Color::WHITE,
        }
    }
}

impl Element {
    fn is_hidden(&self) -> bool {
        self.hidden != 0 || self.color.is_some_and(|color| color.is_lost_on(self.background))
    }
}

#[derive(Default)]
struct Walk {
    out: Visible,
    stack: Vec<Element>,
    open: Option<Element>,
    /// The name of the tag that is open.
    name: Vec<u8>,
    attribute: Vec<u8>,
    /// What the open tag says.
    style: Style,
    class: String,
    id: String,
    href: Option<String>,
    source: Option<String>,
    sheet: Sheet,
    sheet_text: String,
    text_max: usize,
}

impl Walk {
    fn full(&self) -> bool {
        self.out.text.len() >= self.text_max
    }

    fn event(&mut self, event: &CallbackEvent<'_>) {
        match event {
            CallbackEvent::OpenStartTag { name } => self.start(name),
            CallbackEvent::AttributeName { name } => self.name(name),
            CallbackEvent::AttributeValue { value } if self.is_read() => {
                self.value(&String::from_utf8_lossy(value));
            }
            CallbackEvent::CloseStartTag { .. } => self.close_start(),
            CallbackEvent::EndTag { name } => self.end(name),
            CallbackEvent::String { value } => self.text(&String::from_utf8_lossy(value)),
            _ => {}
        }
    }

    fn start(&mut self, name: &[u8]) {
        self.close_implied(name);
        let never_shown =
            matches!(name, b"script" | b"style" | b"title" | b"template" | b"noscript" | b"object");
        // A body ends the head even where its end tag is missing.
        if name == b"body" {
            self.stack.clear();
        }
        let mut open = self.stack.last().copied().unwrap_or_default();
        open.tag = xxh3_64(name);
        open.paragraph = name == b"p";
        open.sheet = name == b"style";
        open.quote |= name == b"blockquote";
        open.hidden |= if never_shown { property::DISPLAY } else { 0 };
        self.open = Some(open);
        self.name.clear();
        self.name.extend_from_slice(name);
        self.style = Style::default();
        self.class.clear();
        self.id.clear();
        (self.href, self.source) = (None, None);
    }

    /// A paragraph, list item or cell ends where the next begins.
    fn close_implied(&mut self, name: &[u8]) {
        let Some(top) = self.stack.last() else { return };
        let again =
            matches!(name, b"p" | b"li" | b"td" | b"th" | b"tr" | b"dt" | b"dd" | b"option")
                && top.tag == xxh3_64(name);
        let ends_paragraph = matches!(
            name,
            b"div" | b"table" | b"ul" | b"ol" | b"h1" | b"h2" | b"h3" | b"blockquote" | b"pre"
        );
        if again || (top.paragraph && ends_paragraph) {
            self.stack.pop();
        }
    }

    fn name(&mut self, name: &[u8]) {
        self.attribute.clear();
        self.attribute.extend(name.iter().map(u8::to_ascii_lowercase));
        // The one attribute that hides without a value.
        if let Some(open) = self.open.as_mut().filter(|_| name == b"hidden") {
            open.hidden |= property::DISPLAY;
        }
    }

    /// True where the value of the attribute decides something.
    fn is_read(&self) -> bool {
        matches!(
            self.attribute.as_slice(),
            b"style"
                | b"class"
                | b"id"
                | b"color"
                | b"text"
                | b"bgcolor"
                | b"background"
                | b"href"
                | b"src"
        )
    }

    fn value(&mut self, value: &str) {
        let style = &mut self.style;
        match self.attribute.as_slice() {
            b"style" => {
                let said = Style::parse(value);
                *style = Style {
                    color: said.color.or(style.color),
                    background: said.background.or(style.background),
                    ..said
                };
            }
            b"class" => value.clone_into(&mut self.class),
            b"id" => value.clone_into(&mut self.id),
            b"color" | b"text" => {
                style.color.get_or_insert(Color::parse(value));
            }
            b"bgcolor" => {
                style.background.get_or_insert(Color::parse(value));
            }
            b"background" => style.background = Some(Color::Unknown),
            // Where the reader can go. Images are no place to go, and those of mailing services
            // are shared by unrelated mails.
            b"href" if matches!(self.name.as_slice(), b"a" | b"area") => {
                self.href = Some(value.trim().to_owned());
            }
            b"src" if self.name == b"img" => self.source = Some(value.trim().to_owned()),
            _ => {}
        }
    }

    fn close_start(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        let style = self.style;
        let of_sheet = self.sheet.hides(&self.class, &self.id) & !style.shows;
        // What is not displayed, or stands elsewhere, takes all that is inside with it; size and
        // visibility end where something inside has its own.
        let own = property::SIZE | property::VISIBILITY;
        open.hidden &= !(style.shows & own);
        open.hidden |= style.hides | of_sheet;
        open.color = style.color.or(open.color);
        open.background = style.background.unwrap_or(open.background);
        if !open.is_hidden() {
            self.addresses();
        }
        let name = std::mem::take(&mut self.name);
        self.block(&name);
        let void = matches!(
            name.as_slice(),
            b"area"
                | b"base"
                | b"br"
                | b"col"
                | b"embed"
                | b"hr"
                | b"img"
                | b"input"
                | b"link"
                | b"meta"
                | b"source"
                | b"track"
                | b"wbr"
        );
        self.name = name;
        if !void && self.stack.len() < STACK_MAX {
            self.stack.push(open);
        }
    }

    /// Takes where the open tag leads, and where its picture lies.
    fn addresses(&mut self) {
        if let Some(href) = self.href.take().filter(|href| !href.is_empty())
            && self.out.hrefs.len() < HREFS_MAX
        {
            self.out.hrefs.push(href);
        }
        let loaded =
            |source: &String| source.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("http"));
        if let Some(source) = self.source.take().filter(loaded)
            && self.out.pictures.len() < PICTURES_MAX
        {
            self.out.pictures.push(source);
        }
    }

    fn end(&mut self, name: &[u8]) {
        let tag = xxh3_64(name);
        if let Some(at) = self.stack.iter().rposition(|element| element.tag == tag) {
            self.stack.truncate(at);
        }
        if name == b"style" {
            self.sheet.read(&std::mem::take(&mut self.sheet_text));
        }
        self.block(name);
    }

    /// A block begins or ends: what follows stands on a line of its own.
    fn block(&mut self, name: &[u8]) {
        match name {
            b"p" | b"div" | b"br" | b"tr" | b"li" | b"ul" | b"ol" | b"table" | b"hr" | b"h1"
            | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" | b"blockquote" | b"pre" | b"center"
            | b"form" | b"dd" | b"dt" | b"dl" | b"section" | b"article" | b"header" | b"footer"
            | b"body" | b"html" | b"address" | b"option"
                if !self.out.text.ends_with('\n') =>
            {
                self.out.text.push('\n');
            }
            b"td" | b"th" | b"img" => self.out.text.push(' '),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        let element = self.stack.last().copied().unwrap_or_default();
        if element.is_hidden() {
            if element.sheet && self.sheet_text.len() < PAGE_SHEETS_MAX {
                self.sheet_text.push_str(text);
            }
            return;
        }
        let out = &mut self.out.text;
        if element.quote && (out.is_empty() || out.ends_with('\n')) && !text.trim().is_empty() {
            out.push_str("> ");
        }
        // In HTML a line break is a space.
        let mut lines = text.split(['\n', '\r']);
        out.push_str(lines.next().unwrap_or_default());
        for line in lines {
            out.push(' ');
            out.push_str(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(html: &str, expected: &str) {
        let seen = visible(html, 1 << 16).text;
        assert_eq!(seen.split_whitespace().collect::<Vec<_>>().join(" "), expected, "{html}");
    }

    #[test]
    fn what_is_hidden_is_not_seen() {
        check("<p>a</p><p style='display: none'>no</p>b", "a b");
        check("a<span style='font-size:0px'>no</span>b", "ab");
        check("a<span style='visibility:hidden'>no<b>nor this</b></span>b", "ab");
        check("a<font color='#FFFFFF'>no</font>b", "ab");
        check("<table bgcolor=black><td><font color=white>yes</font></table>", "yes");
        check("<table bgcolor=navy><td><font color=navy>no</font>yes</table>", "yes");
        check("a<div style='max-height:0;overflow:hidden'>no</div>b", "a b");
        check("a<p style='text-indent:-9999px'>no</p>", "a");
        check("a<style>no</style><script>no</script><!-- no -->b", "ab");
        check("<head><title>no</title><body>yes", "yes");
        check("<body><head><style>no</style>yes", "yes");
        check("<p hidden>no</p>a", "a");
        check("<style>.x{display:none}</style>a<div class='y x'>no<b>nor</b></div>b", "a b");
        check(
            "<style>#x{font-size:0}</style>a<div id=x>no<b style='font-size:9px'>yes</b></div>",
            "a yes",
        );
        check("<style>.x{display:none}</style><p class=x style='display:block'>a", "a");
        check("<div style='visibility:hidden'>no<b style='visibility:visible'>a</b></div>", "a");
        check("<body bgcolor='#fefefe'><font color=white>no</font>a", "a");
    }

    #[test]
    fn what_is_written_inside_something_hidden_may_be_seen() {
        // Mailing services take the gaps between columns away by a size of zero.
        check("<td style='font-size:0px'><div style='font-size:13px'>a</div></td>", "a");
        check("<td style='font-size:0px'><div style='font-size:1em'>no</div></td>a", "a");
        check("<td style='color:#fff'><font color=black>a</font></td>", "a");
        check("<td background='http://a.example/dark.png'><font color=white>a</font></td>", "a");
        check("<div style='display:none'><p style='display:block'>no</p></div>a", "a");
        check("<p style='left:-9999px'>a</p>", "a");
    }

    #[test]
    fn words_and_lines() {
        check("vi<b></b>ag<!-- x -->ra", "viagra");
        check("<p>one<p>two<br>three<td>four", "one two three four");
        check("&lt;a&gt; &amp;nbsp &eacute;&#233;", "<a> &nbsp éé");
        assert_eq!(visible("<blockquote>a<br>b</blockquote>c", 99).text, "\n> a\n> b\nc");
    }

    #[test]
    fn addresses_are_collected_unless_hidden() {
        let page = "<a href=' http://a.example/x '>a</a><div style=display:none><a href=http://no.example></div><img src=http://b.example/i>";
        assert_eq!(visible(page, 99).hrefs, ["http://a.example/x"]);
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let deep = "<div>".repeat(100_000) + "end" + &"</div>".repeat(100_000);
        check(&deep, "end");
        assert!(visible(&"a ".repeat(100_000), 1000).text.len() < 500_000);
        let unclosed = "<p style='display:none'>".repeat(1000) + "no";
        check(&unclosed, "");
    }
}
