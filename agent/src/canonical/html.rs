//! What a reader of HTML sees: text without markup, scripts and hidden elements, with a line
//! break at every block, and every address that the page would lead to. Inline tags join what
//! they stand between, so `vi<b></b>agra` is one word.
//!
//! The walk keeps a stack of open elements (bounded) because being hidden is inherited. Cost is
//! linear in the input: an end tag looks down the stack at most [`STACK_MAX`] elements.

use html5gum::Tokenizer;
use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};

/// Deepest nesting that is followed; what is deeper inherits from the last element kept.
const STACK_MAX: usize = 256;

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

#[derive(Debug)]
struct Element {
    name: Vec<u8>,
    hidden: bool,
    quote: bool,
    background: Option<String>,
}

#[derive(Default)]
struct Walk {
    out: Visible,
    stack: Vec<Element>,
    open: Option<Element>,
    attribute: Vec<u8>,
    color: Option<String>,
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

    fn hidden(&self) -> bool {
        self.stack.last().is_some_and(|element| element.hidden)
    }

    fn start(&mut self, name: &[u8]) {
        self.close_implied(name);
        let parent = self.stack.last();
        let never_shown =
            matches!(name, b"script" | b"style" | b"title" | b"template" | b"noscript" | b"object");
        self.color = None;
        self.open = Some(Element {
            name: name.to_vec(),
            hidden: never_shown || parent.is_some_and(|parent| parent.hidden),
            quote: name == b"blockquote" || parent.is_some_and(|parent| parent.quote),
            background: parent.and_then(|parent| parent.background.clone()),
        });
        // A body ends the head even where its end tag is missing.
        if name == b"body" {
            self.stack.clear();
            if let Some(open) = &mut self.open {
                (open.hidden, open.quote) = (false, false);
            }
        }
    }

    /// A paragraph, list item or cell ends where the next begins.
    fn close_implied(&mut self, name: &[u8]) {
        let Some(top) = self.stack.last().map(|element| element.name.as_slice()) else { return };
        let again = top == name
            && matches!(name, b"p" | b"li" | b"td" | b"th" | b"tr" | b"dt" | b"dd" | b"option");
        let ends_paragraph = matches!(
            name,
            b"div" | b"table" | b"ul" | b"ol" | b"h1" | b"h2" | b"h3" | b"blockquote" | b"pre"
        );
        if again || (top == b"p" && ends_paragraph) {
            self.stack.pop();
        }
    }

    fn name(&mut self, name: &[u8]) {
        self.attribute.clear();
        self.attribute.extend(name.iter().map(u8::to_ascii_lowercase));
        // The one attribute that hides without a value.
        if let Some(open) = self.open.as_mut().filter(|_| name == b"hidden") {
            open.hidden = true;
        }
    }

    /// True where the value of the attribute decides something.
    fn is_read(&self) -> bool {
        matches!(
            self.attribute.as_slice(),
            b"style" | b"color" | b"text" | b"bgcolor" | b"href" | b"src"
        )
    }

    fn value(&mut self, value: &str) {
        let Some(open) = &mut self.open else { return };
        match self.attribute.as_slice() {
            b"style" => {
                let style = Style::parse(value);
                open.hidden |= style.hidden;
                self.color = style.color.or(self.color.take());
                open.background = style.background.or(open.background.take());
            }
            b"color" | b"text" => self.color = Some(color(value)),
            b"bgcolor" => open.background = Some(color(value)),
            // Where the reader can go. Images are no place to go, and those of mailing services
            // are shared by unrelated mails.
            b"href" if !open.hidden && matches!(open.name.as_slice(), b"a" | b"area") => {
                let href = value.trim();
                if !href.is_empty() && self.out.hrefs.len() < HREFS_MAX {
                    self.out.hrefs.push(href.to_owned());
                }
            }
            b"src" if !open.hidden && open.name == b"img" => {
                let source = value.trim();
                let loaded = source.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("http"));
                if loaded && self.out.pictures.len() < PICTURES_MAX {
                    self.out.pictures.push(source.to_owned());
                }
            }
            _ => {}
        }
    }

    fn close_start(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        let ground = open.background.as_deref().unwrap_or("white");
        open.hidden |= self.color.as_deref() == Some(ground);
        self.block(&open.name);
        let void = matches!(
            open.name.as_slice(),
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
        if !void && self.stack.len() < STACK_MAX {
            self.stack.push(open);
        }
    }

    fn end(&mut self, name: &[u8]) {
        if let Some(at) = self.stack.iter().rposition(|element| element.name == name) {
            self.stack.truncate(at);
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
        if self.hidden() {
            return;
        }
        let out = &mut self.out.text;
        let quoted = self.stack.last().is_some_and(|element| element.quote);
        if quoted && (out.is_empty() || out.ends_with('\n')) && !text.trim().is_empty() {
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

/// The declarations of a style attribute that decide what is seen.
#[derive(Debug, Default, PartialEq, Eq)]
struct Style {
    hidden: bool,
    color: Option<String>,
    background: Option<String>,
}

impl Style {
    fn parse(text: &str) -> Self {
        let mut style = Self::default();
        let mut clipped = false;
        let mut flat = false;
        for declaration in text.split(';').take(64) {
            let Some((name, value)) = declaration.split_once(':') else { continue };
            let name = name.trim().to_ascii_lowercase();
            let value: String = value
                .to_ascii_lowercase()
                .replace("!important", "")
                .chars()
                .filter(|c| !c.is_ascii_whitespace())
                .collect();
            let length = || value.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '%');
            let small = || length().parse::<f32>().is_ok_and(|number| number < 2.0);
            let zero = || length().parse::<f32>().is_ok_and(|number| number <= 0.0);
            match name.as_str() {
                "display" => style.hidden |= value == "none",
                "visibility" => style.hidden |= value == "hidden" || value == "collapse",
                "mso-hide" => style.hidden |= value == "all",
                "opacity" => style.hidden |= zero(),
                // em and % scale: only an absolute size below 2 can't be read.
                "font-size" => {
                    style.hidden |= zero() || (small() && !value.ends_with("em") && value != "1");
                }
                "text-indent" | "left" | "top" | "margin-left" => {
                    style.hidden |= length().parse::<f32>().is_ok_and(|number| number < -500.0);
                }
                "height" | "max-height" | "width" | "max-width" => flat |= zero(),
                "overflow" => clipped |= value == "hidden",
                "color" => style.color = Some(color(&value)),
                "background-color" | "background" => style.background = Some(color(&value)),
                _ => {}
            }
        }
        style.hidden |= flat && clipped;
        style
    }
}

/// A colour in one spelling, for the commonest of them.
fn color(value: &str) -> String {
    let value: String = value.trim().to_ascii_lowercase();
    match value.as_str() {
        "#fff" | "#ffffff" | "ffffff" | "rgb(255,255,255)" | "white" => "white".into(),
        "#000" | "#000000" | "000000" | "rgb(0,0,0)" | "black" => "black".into(),
        _ => value.trim_start_matches('#').to_owned(),
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
