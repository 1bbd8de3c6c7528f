//! What style says of whether a text is seen: the declarations of a `style` attribute, and the rules
//! of a page's own style sheets.
//!
//! Main items: [`Style::parse`] and [`Sheet`]. Key decision: a sheet hides only what every program
//! that reads it would hide. A rule that might show it again, or anything in a sheet that programs
//! may read otherwise than this module, and it counts as seen: who hides his offer from us and not
//! from his readers would be found nowhere.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

/// Longest sheet that is read, in bytes; of a longer one nothing is hidden.
const SHEET_LEN_MAX: usize = 64 << 10;

/// Most names of classes and elements that are kept of a page's sheets.
const NAMES_MAX: usize = 2_000;

/// Declarations of one rule or attribute that are looked at.
const DECLARATIONS_MAX: usize = 64;

/// Font size from which a text can be read, in pixels or points.
const READABLE_MIN: f32 = 2.0;

/// Distance to the left from which a text is off the screen, in any unit.
const OFF_SCREEN: f32 = -500.0;

/// Difference of two colours, of 255 in each part, up to which nobody can read one on the other.
const ALIKE_MAX: u8 = 16;

/// The properties by which text is hidden, as bits.
pub(super) mod property {
    pub(in super::super) const DISPLAY: u8 = 1;
    pub(in super::super) const VISIBILITY: u8 = 2;
    pub(in super::super) const SIZE: u8 = 4;
    /// Opacity, no height with nothing hanging over, and places off the screen.
    pub(in super::super) const ELSEWHERE: u8 = 8;
    pub(in super::super) const ALL: u8 = 15;
}

/// A colour, as far as it can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Color {
    Rgb([u8; 3]),
    /// By the hash of its name.
    Named(u64),
    /// Not there at all.
    Clear,
    /// A picture, or what this module can't read.
    Unknown,
}

impl Color {
    pub(super) const WHITE: Self = Self::Rgb([255; 3]);

    pub(super) fn parse(value: &str) -> Self {
        let value = value.trim();
        let digits = value.strip_prefix('#').unwrap_or(value);
        if let Some(rgb) = from_digits(digits) {
            return Self::Rgb(rgb);
        }
        let named = |name: &str| value.eq_ignore_ascii_case(name);
        if named("white") {
            return Self::WHITE;
        }
        if named("black") {
            return Self::Rgb([0; 3]);
        }
        if named("transparent") {
            return Self::Clear;
        }
        if value.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("rgb")) {
            return from_parts(value);
        }
        match !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            true => Self::Named(hash(value)),
            false => Self::Unknown,
        }
    }

    /// True when a text of this colour can't be read on that ground.
    pub(super) fn is_lost_on(self, ground: Self) -> bool {
        match (self, ground) {
            (Self::Clear, _) => true,
            (Self::Rgb(text), Self::Rgb(ground)) => {
                text.iter().zip(ground).all(|(a, b)| a.abs_diff(b) <= ALIKE_MAX)
            }
            (Self::Named(text), Self::Named(ground)) => text == ground,
            _ => false,
        }
    }
}

/// `fff` and `ffffff`.
fn from_digits(digits: &str) -> Option<[u8; 3]> {
    let digit = |at: usize| (*digits.as_bytes().get(at)? as char).to_digit(16).map(|of| of as u8);
    let mut rgb = [0; 3];
    for (at, part) in rgb.iter_mut().enumerate() {
        *part = match digits.len() {
            3 => digit(at)? * 17,
            6 => digit(2 * at)? * 16 + digit(2 * at + 1)?,
            _ => return None,
        };
    }
    Some(rgb)
}

/// `rgb(1, 2, 3)`, and `rgba` with what shines through.
fn from_parts(value: &str) -> Color {
    let inner = value.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    let Some((inner, _)) = inner else { return Color::Unknown };
    let mut rgb = [0; 3];
    let mut parts = inner.split([',', '/', ' ']).map(str::trim).filter(|part| !part.is_empty());
    for part in &mut rgb {
        let Some(Ok(value)) = parts.next().map(str::parse::<f32>) else { return Color::Unknown };
        *part = value.clamp(0.0, 255.0) as u8;
    }
    match parts.next().map(str::parse::<f32>) {
        None => Color::Rgb(rgb),
        Some(Ok(alpha)) if alpha <= 0.0 => Color::Clear,
        Some(Ok(alpha)) if alpha >= 1.0 => Color::Rgb(rgb),
        Some(_) => Color::Unknown,
    }
}

/// What declarations say. A property is in `hides`, in `shows`, or in neither when nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) hides: u8,
    pub(super) shows: u8,
    pub(super) color: Option<Color>,
    pub(super) background: Option<Color>,
}

/// What takes two declarations to hide.
#[derive(Default)]
struct Partly {
    clipped: bool,
    flat: bool,
    placed: bool,
    off: bool,
}

impl Style {
    pub(super) fn parse(text: &str) -> Self {
        let (mut style, mut partly) = (Self::default(), Partly::default());
        for declaration in text.split(';').take(DECLARATIONS_MAX) {
            if let Some((name, value)) = declaration.split_once(':') {
                style.declare(name.trim(), plain(value), &mut partly);
            }
        }
        if (partly.flat && partly.clipped) || (partly.placed && partly.off) {
            style.say(property::ELSEWHERE, true);
        }
        style
    }

    fn declare(&mut self, name: &str, value: &str, partly: &mut Partly) {
        let is = |property: &str| name.eq_ignore_ascii_case(property);
        let word = |word: &str| value.eq_ignore_ascii_case(word);
        let far = || number(value).is_some_and(|number| number < OFF_SCREEN);
        let zero = || number(value).is_some_and(|number| number <= 0.0);
        match name.as_bytes().first().map(u8::to_ascii_lowercase) {
            Some(b'd') if is("display") => self.say(property::DISPLAY, word("none")),
            Some(b'v') if is("visibility") => {
                self.say(property::VISIBILITY, word("hidden") || word("collapse"));
            }
            Some(b'f') if is("font-size") => {
                if let Some(tiny) = size(value) {
                    self.say(property::SIZE, tiny);
                }
            }
            Some(b'o') if is("opacity") => self.say(property::ELSEWHERE, zero()),
            Some(b'o') if is("overflow") => partly.clipped |= word("hidden"),
            Some(b'p') if is("position") => partly.placed |= !word("static"),
            Some(b'l' | b't') if is("left") || is("top") => partly.off |= far(),
            Some(b't' | b'm') if (is("text-indent") || is("margin-left")) && far() => {
                self.say(property::ELSEWHERE, true);
            }
            Some(b'h' | b'w' | b'm')
                if is("height") || is("max-height") || is("width") || is("max-width") =>
            {
                partly.flat |= zero();
            }
            Some(b'c') if is("color") => self.color = Some(Color::parse(value)),
            Some(b'b') if is("background") || is("background-color") => {
                self.background = ground(value);
            }
            Some(b'b') if is("background-image") && !word("none") => {
                self.background = Some(Color::Unknown);
            }
            _ => {}
        }
    }

    /// The later word counts.
    fn say(&mut self, property: u8, hides: bool) {
        let (to, from) = match hides {
            true => (&mut self.hides, &mut self.shows),
            false => (&mut self.shows, &mut self.hides),
        };
        *to |= property;
        *from &= !property;
    }
}

/// The number that a value begins with, whatever its unit.
fn number(value: &str) -> Option<f32> {
    let end = value.find(|c: char| c.is_ascii_alphabetic() || c == '%');
    value[..end.unwrap_or(value.len())].trim().parse().ok()
}

/// Whether a font size is too small to be read; None for a part of the size around it.
fn size(value: &str) -> Option<bool> {
    match number(value) {
        Some(size) if size <= 0.0 => Some(true),
        Some(_) if value.ends_with('%') || value.ends_with("em") => None,
        // Without a unit only zero means something.
        Some(size) => {
            Some(size < READABLE_MIN && value.ends_with(|c: char| c.is_ascii_alphabetic()))
        }
        None => Some(false),
    }
}

/// A value without `!important` and blanks around it.
fn plain(value: &str) -> &str {
    value.split('!').next().unwrap_or_default().trim()
}

/// What a background is; None where the one behind it shines through.
fn ground(value: &str) -> Option<Color> {
    match Color::parse(value) {
        Color::Clear => None,
        Color::Named(_)
            if ["none", "inherit", "initial"]
                .iter()
                .any(|word| value.eq_ignore_ascii_case(word)) =>
        {
            None
        }
        color => Some(color),
    }
}

fn hash(name: &str) -> u64 {
    xxh3_64(name.to_ascii_lowercase().as_bytes())
}

/// What rules say of elements of one name.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    hides: u8,
    shows: u8,
}

/// What the style sheets of a page hide.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    classes: HashMap<u64, Said>,
    ids: HashMap<u64, Said>,
    /// What may be shown again anywhere.
    shows: u8,
}

impl Sheet {
    /// Reads the text of a `style` element.
    pub(super) fn read(&mut self, text: &str) {
        let text = text.replace("<!--", "").replace("-->", "");
        let odd = text.len() > SHEET_LEN_MAX || text.contains(['\\', '<']);
        let whole = !odd && without_comments(&text).is_some_and(|text| self.rules(&text, None));
        if !whole {
            self.shows = property::ALL;
        }
    }

    /// The properties by which an element with this class attribute and id is hidden.
    pub(super) fn hides(&self, classes: &str, id: &str) -> u8 {
        if self.classes.is_empty() && self.ids.is_empty() {
            return 0;
        }
        let of_class = classes.split_ascii_whitespace().take(16);
        let of_class = of_class.filter_map(|name| self.classes.get(&hash(name)));
        let said =
            of_class.chain(self.ids.get(&hash(id.trim()))).fold(Said::default(), |all, of| Said {
                hides: all.hides | of.hides,
                shows: all.shows | of.shows,
            });
        said.hides & !said.shows & !self.shows
    }

    /// Reads the rules of a sheet, or of a media query within it, which apply everywhere or can only
    /// show. False when they end early, or queries stand within queries, so that no depth of them
    /// costs anything.
    fn rules(&mut self, mut text: &str, query: Option<bool>) -> bool {
        while let Some(open) = text.find('{') {
            // `@import "x";` has no block.
            let prelude = text[..open].rsplit(';').next().unwrap_or_default().trim();
            let rest = &text[open + 1..];
            let Some(end) = block_end(rest) else { return false };
            let block = &rest[..end];
            text = &rest[end + 1..];
            match prelude.strip_prefix('@') {
                None => self.rule(prelude, block, query.unwrap_or(true)),
                Some(at) if at.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("media")) => {
                    let media = at[5..].trim().to_ascii_lowercase();
                    let everywhere = matches!(media.as_str(), "all" | "screen" | "only screen");
                    if query.is_some() || !self.rules(block, Some(everywhere)) {
                        return false;
                    }
                }
                Some(_) => {}
            }
        }
        !text.contains('}')
    }

    fn rule(&mut self, selectors: &str, block: &str, apply: bool) {
        let style = Style::parse(block);
        if style.hides | style.shows == 0 {
            return;
        }
        for selector in selectors.split(',').map(str::trim) {
            let last = selector.rsplit([' ', '>', '+', '~', '\n', '\t']).next().unwrap_or_default();
            let last = last.split([':', '[']).next().unwrap_or_default();
            let alone = last == selector && !selector.contains('*');
            let starts: Vec<usize> = last.match_indices(['.', '#']).map(|(at, _)| at).collect();
            if starts.is_empty() {
                // An element's kind gives way to names, unless it is declared important.
                let counts = !alone || block.contains('!');
                self.shows |= if counts { style.shows } else { 0 };
            }
            for (nth, start) in starts.iter().enumerate() {
                let end = starts.get(nth + 1).copied().unwrap_or(last.len());
                let names = match last.as_bytes()[*start] {
                    b'.' => &mut self.classes,
                    _ => &mut self.ids,
                };
                if names.len() >= NAMES_MAX {
                    self.shows = property::ALL;
                    return;
                }
                let said = names.entry(hash(&last[start + 1..end])).or_default();
                said.shows |= style.shows;
                said.hides |= if apply && alone && starts.len() == 1 { style.hides } else { 0 };
            }
        }
    }
}

fn without_comments(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, comment)) = rest.split_once("/*") {
        out.push_str(before);
        rest = comment.split_once("*/")?.1;
    }
    out.push_str(rest);
    Some(out)
}

/// Where a block ends that has begun.
fn block_end(text: &str) -> Option<usize> {
    let mut depth = 0u32;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_declarations_hide() {
        let hides = |text: &str| Style::parse(text).hides;
        for text in [
            "display: none",
            "DISPLAY:NONE !important",
            "color:red;visibility:hidden",
            "font-size:0",
            "font-size: 1px",
            "opacity:0",
            "max-height:0;overflow:hidden",
            "position:absolute;left:-9999px",
            "text-indent:-9999px",
        ] {
            assert_ne!(hides(text), 0, "{text}");
        }
        for text in [
            "display:block",
            "font-size:12px",
            "font-size:0.8em",
            "font-size:small",
            "font-size:1",
            "max-height:0",
            "left:-9999px",
            "mso-hide:all",
            "opacity:0.5",
            "display:none;display:block",
        ] {
            assert_eq!(hides(text), 0, "{text}");
        }
    }

    #[test]
    fn colours_that_cannot_be_told_apart() {
        let lost = |text: &str, ground: &str| Color::parse(text).is_lost_on(Color::parse(ground));
        for (text, ground) in [
            ("#FFF", "white"),
            ("#fefefe", "#ffffff"),
            ("rgb(255, 250, 255)", "fff"),
            ("navy", "Navy"),
            ("transparent", "red"),
            ("rgba(0,0,0,0)", "white"),
        ] {
            assert!(lost(text, ground), "{text} on {ground}");
        }
        for (text, ground) in [
            ("#888", "white"),
            ("navy", "blue"),
            ("red", "url(x.png)"),
            ("rgba(0,0,0,.5)", "black"),
        ] {
            assert!(!lost(text, ground), "{text} on {ground}");
        }
    }

    #[track_caller]
    fn check(sheet: &str, expected: bool) {
        let mut page = Sheet::default();
        page.read(sheet);
        assert_eq!(page.hides("a x", "") != 0, expected, "{sheet}");
    }

    #[test]
    fn what_sheets_hide() {
        check(".x{display:none}", true);
        check("<!-- span.X { font-size:0 !important } -->", true);
        check("/* .y{} */ p,.x,td{visibility:hidden}", true);
        check("@import 'z'; @media screen { .x{display:none} }", true);
        check("td{font-size:12px} .x{font-size:0}", true);
    }

    #[test]
    fn what_may_be_shown_again_is_seen() {
        check(".y{display:none}", false);
        check("@media (max-width:600px){.x{display:none}}", false);
        check(".x{display:none} @media (max-width:600px){.x{display:block}}", false);
        check(".x{display:none} .x{display:block}", false);
        check(".x{display:none} .a{display:block}", false);
        check(".x{display:none} div p{display:block}", false);
        check(".x{display:none} p{display:block!important}", false);
        check(".never .x{display:none}", false);
        check(".x.y{display:none}", false);
        check(".x:hover{display:none}", false);
        check(".x{display:none} .z{", false);
        check(".x{display:none}}", false);
        check(".\\78{display:none} .x{display:none}", false);
        check("/* .x{display:none}", false);
        check("@media screen{@media screen{.x{display:none}}}", false);
        let deep = "@media screen{".repeat(4_000);
        check(&format!(".x{{display:none}}{deep}{}", "}".repeat(4_000)), false);
        check(&format!(".x{{display:none}}{}", " ".repeat(SHEET_LEN_MAX)), false);
    }
}
