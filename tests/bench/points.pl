#!/usr/bin/perl
# What SpamAssassin gives to every mail of an index, offline: local rules only, no network, hence no
# Razor, no Pyzor, no DCC, no DNS; no Bayes and nothing learnt. Prints the table of
# docs/measurements.md, "Pooled filters", and with --out an index with the column sa_score.
#
#     perl tests/bench/points.pl --index dev/index.tsv --root dev --corpus spamassassin \
#         [--step 2] [--out FILE]
#
# Needs SpamAssassin 4 (Debian: spamassassin).
use strict;
use warnings;
use Getopt::Long;
use Mail::SpamAssassin;

my ($index, $root, $corpus, $step, $out) = (undef, ".", "", 1, undef);
GetOptions("index=s" => \$index, "root=s" => \$root, "corpus=s" => \$corpus, "step=i" => \$step,
    "out=s" => \$out) && $index or die "usage: points.pl --index TSV --root DIR\n";

my $sa = Mail::SpamAssassin->new({
    local_tests_only => 1,
    dont_copy_prefs => 1,
    username => "nobody",
    userprefs_filename => "/dev/null",
    post_config_text => "use_bayes 0\nuse_auto_whitelist 0\nuse_txrep 0\nskip_rbl_checks 1\n"
        . "use_razor2 0\nuse_pyzor 0\nuse_dcc 0\n",
});
$sa->compile_now(0);

open(my $rows, "<", $index) or die "read $index: $!\n";
chomp(my $head = <$rows>);
my @names = split /\t/, $head;
my %at = map { $names[$_] => $_ } 0 .. $#names;
my $written;
if ($out) {
    open($written, ">", $out) or die "write $out: $!\n";
    push @names, "sa_score" unless exists $at{sa_score};
    $at{sa_score} //= $#names;
    print $written join("\t", @names), "\n";
}

my (%points, $seen);
while (my $line = <$rows>) {
    chomp $line;
    my @cells = split /\t/, $line, -1;
    my $label = $cells[$at{label}];
    next if $corpus && $cells[$at{corpus}] ne $corpus;
    next unless $label eq "spam" || $label eq "ham";
    next if $seen++ % $step;
    open(my $mail, "<", "$root/$cells[$at{path}]") or die "read $cells[$at{path}]: $!\n";
    my $text = do { local $/; <$mail> };
    my $parsed = $sa->parse($text, 0);
    my $status = $sa->check($parsed);
    my $score = $status->get_score();
    $status->finish();
    $parsed->finish();
    push @{$points{$label}}, $score;
    next unless $written;
    $cells[$at{sa_score}] = sprintf("%.1f", $score);
    print $written join("\t", @cells), "\n";
}

my %n = map { $_ => scalar @{$points{$_} // []} } qw(spam ham);
die "no spam or no ham in $index\n" unless $n{spam} && $n{ham};
printf "%d spam, %d ham, SpamAssassin %s\n", $n{spam}, $n{ham}, Mail::SpamAssassin::Version();
for my $row (["at least", 3], ["at least", 5], ["at least", 8], ["under", 2], ["under", 1]) {
    my ($side, $bound) = @$row;
    my %share = map {
        my $hits = grep { $side eq "under" ? $_ < $bound : $_ >= $bound } @{$points{$_}};
        # Half a mail in place of none keeps the logarithm finite.
        $_ => ($hits || 0.5) / $n{$_};
    } qw(spam ham);
    printf "%-8s %d  spam %5.1f %%  ham %5.2f %%  %+.2f nats\n", $side, $bound,
        100 * $share{spam}, 100 * $share{ham}, log($share{spam} / $share{ham});
}
