//! A replay's report as one page that needs nothing else: tables and plots drawn as SVG, no
//! script, no font, no address. What comes from the corpus (names of files and sites) is escaped.
//!
//! Main item: [`Report::to_html`].

use std::fmt::Write;

use novacula_catalog::Time;
use novacula_client::Verdict;

use super::report::Report;
use super::world::FOUND_WINDOWS_SECS;

/// Size of a plot and of the margin that its axes take, in pixels.
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const MARGIN: f64 = 48.0;
/// Room on the right for half of the last label.
const RIGHT: f64 = 24.0;

/// Most ham called spam that is listed.
const LISTED_MAX: usize = 200;

/// Colours of ours, of the oracle, of simple counts.
const OURS: &str = "#0b6e99";
const ORACLE: &str = "#b0472c";
const COUNTS: &str = "#5c7a29";

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;\
padding:0 1rem;color:#1c2329}h1{font-size:1.6rem}h2{font-size:1.15rem;margin:2.2rem 0 .5rem}\
table{border-collapse:collapse;margin:.5rem 0}th,td{padding:.25rem .8rem;text-align:right;\
border-bottom:1px solid #d9dfe4}th:first-child,td:first-child,td.l,th.l{text-align:left}\
figure{display:inline-block;margin:0 1.5rem 1rem 0;vertical-align:top}\
figcaption{max-width:560px;color:#4a5560}.big{font-size:1.5rem;font-weight:600}\
.cards{display:flex;gap:2.5rem;flex-wrap:wrap}.cards div span{display:block;color:#4a5560}\
text{font:12px system-ui,sans-serif;fill:#4a5560}";

/// A line of a plot: its name, colour and points.
struct Line {
    name: &'static str,
    color: &'static str,
    points: Vec<(f64, f64)>,
    /// Drawn as a line; else as points only.
    joined: bool,
}

/// An axis: its name and the places that are marked, with their words.
struct Axis {
    name: &'static str,
    marks: Vec<(f64, String)>,
}

impl Axis {
    fn end(&self) -> f64 {
        self.marks.last().map_or(1.0, |(at, _)| *at)
    }

    /// Whole steps of percent up to at least `most`.
    fn percent(name: &'static str, most: f64) -> Self {
        let steps = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2];
        let step = steps.into_iter().find(|step| step * 6.0 >= most).unwrap_or(0.2);
        let count = (most / step).ceil().clamp(1.0, 6.0) as u32;
        let mark = |at: u32| {
            let share = f64::from(at) * step;
            (share, format!("{} %", (share * 1e5).round() / 1e3))
        };
        Self { name, marks: (0..=count).map(mark).collect() }
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

fn plot(caption: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let across = |at: f64| MARGIN + at / x.end() * (WIDTH - MARGIN - RIGHT);
    let up = |at: f64| HEIGHT - MARGIN + 8.0 - at / y.end() * (HEIGHT - MARGIN - 20.0);
    let mut out = format!(
        "<figure><svg width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\"><title>{}</title>",
        escaped(caption)
    );
    for (at, word) in &y.marks {
        let _ = write!(
            out,
            "<line x1=\"{MARGIN}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#e3e8ec\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{word}</text>",
            WIDTH - RIGHT,
            MARGIN - 6.0,
            up(*at) + 4.0,
            y = up(*at)
        );
    }
    for (at, word) in &x.marks {
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{word}</text>",
            across(*at),
            HEIGHT - MARGIN + 24.0
        );
    }
    let _ = write!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text><text x=\"{MARGIN}\" y=\"12\">{}</text>",
        (WIDTH + MARGIN) / 2.0,
        HEIGHT - 6.0,
        x.name,
        y.name
    );
    for (number, line) in lines.iter().enumerate() {
        let within = line.points.iter().filter(|(at, _)| *at <= x.end() * 1.0001);
        let places: Vec<String> = within
            .map(|(at, of)| format!("{:.1},{:.1}", across(*at), up(of.min(y.end()))))
            .collect();
        if line.joined {
            let _ = write!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>",
                places.join(" "),
                line.color
            );
        }
        for place in places.iter().filter(|_| !line.joined || places.len() <= 12) {
            let (cx, cy) = place.split_once(',').unwrap_or_default();
            let _ =
                write!(out, "<circle cx=\"{cx}\" cy=\"{cy}\" r=\"3.5\" fill=\"{}\"/>", line.color);
        }
        let _ = write!(
            out,
            "<circle cx=\"{cx}\" cy=\"{cy}\" r=\"4\" fill=\"{}\"/><text x=\"{}\" y=\"{}\">{}</text>",
            line.color,
            WIDTH - 128.0,
            HEIGHT - MARGIN - 8.0 - 18.0 * number as f64,
            line.name,
            cx = WIDTH - 138.0,
            cy = HEIGHT - MARGIN - 12.0 - 18.0 * number as f64,
        );
    }
    let _ = write!(out, "</svg><figcaption>{}</figcaption></figure>", escaped(caption));
    out
}

impl Report {
    /// The report as one page with plots.
    #[must_use]
    pub fn to_html(&self) -> String {
        let mut out = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width\"><title>Novacula replay</title><style>{STYLE}</style>\
             <h1>What a network of sites would have caught</h1><p>{} seeds. People report {} % of \
             spam after {:.0} minutes on average and {} % of wanted mail by mistake; traps at {} % \
             of the sites. The oracle knows every campaign and judges by the same rule.</p>",
            self.seeds.len(),
            100.0 * self.protocol.report_rate,
            self.protocol.report_delay_secs / 60.0,
            100.0 * self.protocol.false_report_rate,
            100.0 * self.protocol.trap_sites,
        );
        out += &self.cards();
        out += "<h2>Plots</h2>";
        out += &self.price_plot();
        out += &self.time_plot();
        out += &self.level_plot();
        out += &self.window_plot();
        out += &self.groups_html();
        out += &self.mistakes_html();
        out += "</html>\n";
        out
    }

    fn cards(&self) -> String {
        let card = |value: String, name: &str| {
            format!("<div><span class=\"big\">{value}</span><span>{name}</span></div>")
        };
        let mut out = String::from("<div class=\"cards\">");
        out += &card(percent(self.recall.mean), "of spam called spam");
        out += &card(percent(self.oracle_recall.mean), "by the oracle");
        out += &card(format!("{:.3}", self.efficiency.mean), "efficiency");
        out += &card(format!("{:.3} %", 100.0 * self.ham_called_spam.mean), "of ham called spam");
        out += &card(format!("{:.0}", self.bytes_per_message.mean), "bytes of statements a mail");
        out += &card(format!("{:.0}", self.messages_per_second), "mails/s");
        out + "</div>"
    }

    /// Recall against its price, for the likelihood and for simple counts.
    fn price_plot(&self) -> String {
        let line =
            |name, color, points: Vec<(f64, f64)>, joined| Line { name, color, points, joined };
        let of = |ours: bool| {
            let point = |at: &super::CurvePoint| match ours {
                true => (at.ham_called_spam.mean, at.recall.mean),
                false => (at.oracle_ham_called_spam.mean, at.oracle_recall.mean),
            };
            self.curve.iter().map(point).collect::<Vec<_>>()
        };
        let counts = self.simple_counts.iter().map(|of| (of.ham_called_spam, of.recall)).collect();
        let most = self.curve.iter().map(|at| at.ham_called_spam.mean).fold(0.0, f64::max);
        let x = Axis::percent("ham called spam", most.clamp(0.0005, 0.006));
        let y = Axis::percent("recall", 0.6);
        let lines = [
            line("likelihood", OURS, of(true), true),
            line("oracle", ORACLE, of(false), true),
            line("simple counts", COUNTS, counts, false),
        ];
        plot(
            "Recall against its price: every threshold, and 1 to 5 reports as a plain rule",
            &x,
            &y,
            &lines,
        )
    }

    /// Catch over the time since an outbreak began.
    fn time_plot(&self) -> String {
        let spans: Vec<_> = self.since_outbreak.iter().filter(|span| span.3 > 0).collect();
        let points = |of: fn(&(f64, f64, f64, usize)) -> f64| {
            spans.iter().enumerate().map(|(at, span)| (at as f64, of(span))).collect::<Vec<_>>()
        };
        let (ours, oracle) = (points(|span| span.1), points(|span| span.2));
        let words = spans.iter().enumerate().map(|(at, span)| (at as f64, format!("{} h", span.0)));
        let x = Axis { name: "hours since the first copy, up to", marks: words.collect() };
        let most = ours.iter().chain(&oracle).map(|point| point.1).fold(0.1, f64::max);
        let lines = [
            Line { name: "ours", color: OURS, points: ours, joined: true },
            Line { name: "oracle", color: ORACLE, points: oracle, joined: true },
        ];
        plot("Catch over time since the outbreak", &x, &Axis::percent("called spam", most), &lines)
    }

    fn level_plot(&self) -> String {
        let levels: Vec<_> =
            self.groups.iter().filter(|of| of.label == "spam" && !of.level.is_empty()).collect();
        if levels.is_empty() {
            return String::new();
        }
        let points = |of: fn(&super::Group) -> f64| {
            levels.iter().enumerate().map(|(at, group)| (at as f64, of(group))).collect::<Vec<_>>()
        };
        let words = levels.iter().enumerate().map(|(at, of)| (at as f64, escaped(&of.level)));
        let x = Axis { name: "level of alteration", marks: words.collect() };
        let line = |name, color, points| Line { name, color, points, joined: true };
        let lines = [
            line("called spam", OURS, points(|of| of.verdicts[0].mean / of.n.max(1) as f64)),
            line("by the oracle", ORACLE, points(|of| of.oracle_spam.mean / of.n.max(1) as f64)),
            line("found in 24 h", COUNTS, points(|of| of.found_24h.mean)),
        ];
        plot("By level of alteration", &x, &Axis::percent("share of copies", 1.0), &lines)
    }

    fn window_plot(&self) -> String {
        let points = |of: &[super::report::Stat]| {
            of.iter().enumerate().map(|(at, stat)| (at as f64, stat.mean)).collect::<Vec<_>>()
        };
        let word = |(at, secs): (usize, &u64)| (at as f64, format!("{} h", secs / 3600));
        let x = Axis {
            name: "window",
            marks: FOUND_WINDOWS_SECS.iter().enumerate().map(word).collect(),
        };
        let lines = [
            Line { name: "ours", color: OURS, points: points(&self.spread_found), joined: true },
            Line {
                name: "oracle",
                color: ORACLE,
                points: points(&self.oracle_spread),
                joined: true,
            },
        ];
        let caption = "Spam of which two earlier sites are found";
        plot(caption, &x, &Axis::percent("share of spam", 1.0), &lines)
    }

    fn groups_html(&self) -> String {
        let mut out = String::from(
            "<h2>All mail</h2><table><tr><th>corpus<th class=\"l\">label<th>level<th>mails<th>spam<th>bulk\
             <th>contested<th>unknown<th>allowed<th>no evidence<th>oracle spam<th>found 24 h",
        );
        for group in &self.groups {
            let _ = write!(
                out,
                "<tr><td>{}<td class=\"l\">{}<td>{}<td>{}",
                escaped(&group.corpus),
                escaped(&group.label),
                escaped(&group.level),
                group.n
            );
            for stat in group.verdicts {
                let _ = write!(out, "<td>{:.1}", stat.mean);
            }
            let _ = write!(
                out,
                "<td>{:.1}<td>{}",
                group.oracle_spam.mean,
                percent(group.found_24h.mean)
            );
        }
        out + "</table>"
    }

    /// Wanted mail that the first seed calls spam, with the reason.
    fn mistakes_html(&self) -> String {
        let wrong = |(row, check): &&(super::Row, novacula_client::Check)| {
            row.label != "spam" && check.verdict == Verdict::Spam
        };
        let mistakes: Vec<_> = self.mails.iter().filter(wrong).collect();
        let mut out = format!(
            "<h2>Mail that is no spam and was called spam</h2><p>{} under the first seed{}.</p>",
            mistakes.len(),
            if mistakes.len() > LISTED_MAX { "; the first are listed" } else { "" }
        );
        if mistakes.is_empty() {
            return out;
        }
        out += "<table><tr><th>mail<th class=\"l\">label<th class=\"l\">site<th class=\"l\">time\
                <th>confidence<th class=\"l\">reason";
        for (row, check) in mistakes.into_iter().take(LISTED_MAX) {
            let _ = write!(
                out,
                "<tr><td>{}<td class=\"l\">{}<td class=\"l\">{}<td class=\"l\">{}<td>{}<td class=\"l\">{}",
                escaped(&row.path),
                escaped(&row.label),
                escaped(&row.site),
                Time(row.time_secs).rfc3339(),
                check.confidence,
                escaped(&check.evidence.join("; "))
            );
        }
        out + "</table>"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_the_corpus_is_escaped() {
        assert_eq!(escaped("a<b>&\"c\u{1b}"), "a&lt;b&gt;&amp;&quot;c ");
    }

    #[test]
    fn axes_reach_as_far_as_the_points() {
        for most in [0.0003, 0.005, 0.41, 1.0] {
            let axis = Axis::percent("x", most);
            assert!(axis.end() >= most - 1e-9 && axis.marks.len() <= 7, "{most}: {}", axis.end());
        }
    }
}
