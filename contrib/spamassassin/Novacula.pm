package Mail::SpamAssassin::Plugin::Novacula;

=head1 NAME

Mail::SpamAssassin::Plugin::Novacula - ask the Novacula agent who else saw this mail

=head1 SYNOPSIS

  loadplugin Mail::SpamAssassin::Plugin::Novacula

  full NOVACULA_CHECK eval:check_novacula()

=head1 DESCRIPTION

Novacula tells whether the same mail appears at several places at about the
same time, and what people there say of it. This plugin asks the agent of the
own site over its Unix socket. The question goes out when SpamAssassin starts
its network tests, the answer is fetched when it is there, and when the agent
is absent, hangs or talks nonsense the mail is scored without it.

At the end of the scan the plugin states that the mail was delivered, together
with what SpamAssassin's other rules thought of it (our own points are taken
off), so that several sites' filters can be pooled. That happens only when the
topmost Received field is younger than two hours: looking at old mail
announces nothing.

C<spamassassin -r> and C<spamc -C report> report a mail as spam,
C<spamassassin -k> and C<spamc -C revoke> say that it is not.

=head1 EVAL RULES

=over 4

=item check_novacula()

True when the verdict is C<spam>.

=item check_novacula_range('', min, max)

True when the verdict is C<spam> and its confidence lies between min and max,
both included. From 50 on a mail is spam. The first argument is empty.

=item check_novacula_bulk()

True when the verdict is C<bulk>: seen at many places, judged by nobody.

=item check_novacula_contested()

True when people disagree.

=back

=head1 TAGS

=over 4

=item _NOVACULA_

The verdict in one line, as in C<spam; confidence=97; places=12; reports=3>;
C<unchecked> when there was no answer.

=item _NOVACULACF_

Confidence, 0 to 100.

=item _NOVACULAPLACES_

Places that saw the mail within the window (24 hours).

=item _NOVACULAREPORTS_

Places whose people report it.

=back

=cut

use strict;
use warnings;
use re 'taint';

use Errno qw(EAGAIN EWOULDBLOCK EINTR EINPROGRESS);
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP ();
use Socket qw(SOCK_STREAM);
use Time::HiRes qw(time);

use Mail::SpamAssassin::Logger;
use Mail::SpamAssassin::Plugin;
use Mail::SpamAssassin::Util qw(parse_rfc822_date untaint_var);

our @ISA = qw(Mail::SpamAssassin::Plugin);
our $VERSION = '0.1.0';

# Longest answer that is read, in bytes; an answer has some hundred.
use constant ANSWER_LEN_MAX => 65536;

# Longest mail that is sent, in bytes: as much as the agent takes.
use constant MAIL_LEN_MAX => 25 << 20;

# Longest wait for the word on a delivery after the scan, in seconds. The agent needs some
# milliseconds; together with novacula_timeout it bounds what a mail can be held up.
use constant DELIVERY_TIME_MAX => 0.5;

# A mail whose topmost Received field is older than this is looked at, not delivered, in seconds.
use constant DELIVERY_AGE_MAX => 7200;

# Clocks of hosts that hand a mail on may differ by this, in seconds.
use constant CLOCK_SKEW_MAX => 900;

# Our own rules, whose points say nothing of what the rest of SpamAssassin thought.
use constant OWN_RULE => qr/^_*NOVACULA_/;

sub new {
  my ($class, $main) = @_;
  $class = ref($class) || $class;
  my $self = $class->SUPER::new($main);
  bless $self, $class;

  if ($main->{local_tests_only}) {
    $self->{novacula_disabled} = 1;
    dbg("novacula: local tests only, the agent is not asked");
  }
  my $full = $Mail::SpamAssassin::Conf::TYPE_FULL_EVALS;
  $self->register_eval_rule("check_novacula", $full);
  $self->register_eval_rule("check_novacula_range", $full);
  $self->register_eval_rule("check_novacula_bulk", $full);
  $self->register_eval_rule("check_novacula_contested", $full);
  $self->set_config($main->{conf});
  return $self;
}

=head1 USER OPTIONS

=over 4

=item use_novacula (0|1)		(default: 1)

Whether to ask the agent.

=back

=head1 ADMINISTRATOR OPTIONS

=over 4

=item novacula_socket PATH		(default: /run/novacula/agent.sock)

The agent's Unix socket. The user that SpamAssassin runs as must be in the
group novacula.

=item novacula_timeout n		(default: 5)

How many seconds to wait for the answer before the mail is scored without it.

=item novacula_deliveries (0|1)		(default: 1)

Whether to state deliveries, with what the other rules thought. Where the
Novacula milter states the same mail, it is still one copy: by its Message-Id.

=back

=cut

sub set_config {
  my ($self, $conf) = @_;
  my $number = $Mail::SpamAssassin::Conf::CONF_TYPE_NUMERIC;
  $conf->{parser}->register_commands([
    { setting => 'use_novacula', default => 1,
      type => $Mail::SpamAssassin::Conf::CONF_TYPE_BOOL },
    { setting => 'novacula_timeout', default => 5, is_admin => 1,
      type => $Mail::SpamAssassin::Conf::CONF_TYPE_DURATION },
    { setting => 'novacula_socket', default => '/run/novacula/agent.sock', is_admin => 1,
      type => $Mail::SpamAssassin::Conf::CONF_TYPE_STRING },
    { setting => 'novacula_deliveries', default => 1, is_admin => 1,
      type => $Mail::SpamAssassin::Conf::CONF_TYPE_BOOL },
  ]);
}

#
# The four rules. While the answer is on its way a rule gives undef and is told later.
#

sub check_novacula {
  my ($self, $pms) = @_;
  return $self->_rule($pms, sub { $_[0]->{verdict} eq 'spam' });
}

sub check_novacula_range {
  my ($self, $pms, undef, undef, $min, $max) = @_;
  $min = 0 if !defined $min;
  $max = 100 if !defined $max;
  return $self->_rule($pms, sub {
    my $cf = $_[0]->{confidence};
    return $_[0]->{verdict} eq 'spam' && $cf >= $min && $cf <= $max;
  });
}

sub check_novacula_bulk {
  my ($self, $pms) = @_;
  return $self->_rule($pms, sub { $_[0]->{verdict} eq 'bulk' });
}

sub check_novacula_contested {
  my ($self, $pms) = @_;
  return $self->_rule($pms, sub { $_[0]->{verdict} eq 'contested' });
}

sub _rule {
  my ($self, $pms, $holds) = @_;
  return 0 if $self->_disabled();
  $self->_launch($pms);
  my $answer = $pms->{novacula_answer};
  return $holds->($answer) ? 1 : 0 if $answer;
  return 0 if !$pms->{novacula_call};
  push @{$pms->{novacula_waiting}}, [$pms->get_current_eval_rule_name(), $holds];
  return; # undef: not known yet
}

#
# The query: launched with the network tests, polled between the others, awaited at the end.
#

sub check_dnsbl {
  my ($self, $opts) = @_;
  my $pms = $opts->{permsgstatus};
  return 0 if $self->_disabled();
  my $evals = $pms->{conf}->{eval_to_rule};
  my @rules = map { @{$evals->{$_} || []} } qw(check_novacula check_novacula_range
    check_novacula_bulk check_novacula_contested);
  return 0 if !grep { $pms->{conf}->{scores}->{$_} } @rules;
  $self->_launch($pms);
}

sub check_tick {
  my ($self, $opts) = @_;
  $self->_poll($opts->{permsgstatus}, 0);
}

sub check_cleanup {
  my ($self, $opts) = @_;
  my $pms = $opts->{permsgstatus};
  my $call = $pms->{novacula_call};
  if ($call) {
    my $hurry = $pms->{deadline_exceeded} || $pms->{shortcircuited};
    my $left = $hurry ? 0 : $call->{started} + $self->_timeout() - time;
    $self->_poll($pms, $left > 0 ? $left : 0);
    if ($pms->{novacula_call}) {
      info("novacula: no answer from the agent within %s s, mail is scored without it",
        $self->_timeout()) if !$hurry;
      $self->_settle($pms, undef);
    }
  }
  $self->_set_tags($pms) if !$self->_disabled();
}

# At the end of the scan everything is known that the sighting should carry.
sub check_end {
  my ($self, $opts) = @_;
  my $pms = $opts->{permsgstatus};
  # Who did not answer before is not made to wait for again.
  return if !$pms->{novacula_answer} || !$pms->{novacula_delivery};
  my $score = $self->_score_of_others($pms);
  my $required = $pms->{conf}->{required_score};
  my $leaning = $score >= $required ? 'spam' : $score >= $required / 2 ? 'grey' : 'ham';
  # The milter may have stated this copy when it came in: the agent counts it once.
  my %fields = ($self->_facts($pms), 'Novacula-Delivery' => 'now', 'Novacula-Stage' => 'filter',
    'Novacula-Filter' => $leaning);
  dbg("novacula: delivery stated, others' score %.3f is %s", $score, $leaning);
  my $call = $self->_call('/v1/check', \$pms->{msg}->get_pristine(), \%fields);
  $self->_finish($call, DELIVERY_TIME_MAX) if $call;
}

sub _launch {
  my ($self, $pms) = @_;
  return if $pms->{novacula_asked}++;
  return if $self->_is_constant($pms);
  my %fields = $self->_facts($pms);
  $pms->{novacula_delivery} = $self->_is_delivery($pms);
  # The copy in hand counts, but is stated only when the other rules are through.
  $fields{'Novacula-Delivery'} = 'pending' if $pms->{novacula_delivery};
  $pms->{novacula_call} = $self->_call('/v1/check', \$pms->{msg}->get_pristine(), \%fields);
  $self->_poll($pms, 0);
}

sub _poll {
  my ($self, $pms, $seconds) = @_;
  my $call = $pms->{novacula_call} or return;
  my $timer = $self->{main}->time_method("check_novacula");
  $self->_finish($call, $seconds);
  return if !$call->{done};
  my $answer = $self->_json($call);
  if ($answer && !(defined $answer->{verdict} && !ref $answer->{verdict}
      && defined $answer->{confidence} && $answer->{confidence} =~ /^\d+\z/)) {
    info("novacula: the agent's answer has no verdict");
    $answer = undef;
  }
  $self->_settle($pms, $answer);
}

# The answer is there, or will never be: rules that wait are told.
sub _settle {
  my ($self, $pms, $answer) = @_;
  delete $pms->{novacula_call};
  $pms->{novacula_answer} = $answer;
  dbg("novacula: %s, confidence %s", $answer->{verdict}, $answer->{confidence}) if $answer;
  foreach my $waiting (@{delete $pms->{novacula_waiting} || []}) {
    my ($rule, $holds) = @$waiting;
    if ($answer && $holds->($answer)) {
      $pms->got_hit($rule, "", ruletype => 'eval');
    } else {
      $pms->rule_ready($rule);
    }
  }
}

sub _set_tags {
  my ($self, $pms) = @_;
  my $answer = $pms->{novacula_answer};
  my $count = sub {
    my $value = $answer ? $answer->{$_[0]} : 0;
    return defined $value && $value =~ /^(\d{1,9})\z/ ? $1 : 0;
  };
  my $line = 'unchecked';
  if ($answer && $answer->{verdict} =~ /^([a-z-]{1,20})\z/) {
    $line = sprintf('%s; confidence=%d; places=%d; reports=%d', $1,
      $count->('confidence'), $count->('spread'), $count->('reports'));
  }
  $pms->set_tag('NOVACULA', $line);
  $pms->set_tag('NOVACULACF', $count->('confidence'));
  $pms->set_tag('NOVACULAPLACES', $count->('spread'));
  $pms->set_tag('NOVACULAREPORTS', $count->('reports'));
}

#
# Reports
#

=head1 REPORTING

A report is given in the name of the user that SpamAssassin acts for. Where
spamd serves mailbox users that are no users of the system (C<spamc -u>),
spamd's own user must be named in C<believed_users> of the agent's
configuration. The switch C<dont_report_to_novacula> of
C<Mail::SpamAssassin>'s report interface leaves Novacula out.

=cut

sub plugin_report {
  my ($self, $opts) = @_;
  my $report = $opts->{report};
  return if $self->_disabled() || $report->{options}->{dont_report_to_novacula};
  if ($self->_opine('report', $opts)) {
    $report->{report_available} = $report->{report_return} = 1;
  }
}

sub plugin_revoke {
  my ($self, $opts) = @_;
  my $revoke = $opts->{revoke};
  return if $self->_disabled() || $revoke->{options}->{dont_report_to_novacula};
  if ($self->_opine('revoke', $opts)) {
    $revoke->{revoke_available} = $revoke->{revoke_return} = 1;
  }
}

sub _opine {
  my ($self, $act, $opts) = @_;
  my %fields;
  my $process_user = getpwuid($>);
  my $user = $self->{main}->{username};
  if (defined $user && $user ne '' && defined $process_user && $user ne $process_user) {
    $fields{'Novacula-Reporter'} = $user;
  }
  my $call = $self->_call("/v1/$act", $opts->{text}, \%fields);
  $self->_finish($call, $self->_timeout()) if $call;
  my $answer = $call && $self->_json($call);
  my $note = $answer && !ref $answer->{note} ? $answer->{note} : undef;
  if ($answer && ($answer->{outcome} || '') eq 'durable') {
    info("reporter: novacula: %s", defined $note ? $note : "${act}ed");
    return 1;
  }
  warn sprintf("reporter: novacula: could not %s: %s\n", $act,
    defined $note ? $note : $call ? $call->{error} || 'no answer in time' : 'no agent answers');
  return 0;
}

#
# What is known of the mail
#

sub _facts {
  my ($self, $pms) = @_;
  my %fields;
  my $relay = $pms->{relays_external}->[0];
  my $ip = $relay && $relay->{ip};
  $fields{'Novacula-Client'} = $1 if defined $ip && $ip =~ /^([0-9A-Fa-f.:]{2,45})\z/;
  my $dmarc = $pms->{dmarc_result} || '';
  # Signed by the author's own domain, with a key that is long enough.
  my $signed = %{$pms->{dkim_has_valid_author_sig} || {}};
  if ($dmarc eq 'pass' || $signed) {
    $fields{'Novacula-Authentication'} = 'pass';
  } elsif ($dmarc eq 'fail') {
    $fields{'Novacula-Authentication'} = 'fail';
  }
  return %fields;
}

sub _is_delivery {
  my ($self, $pms) = @_;
  return 0 if !$pms->{conf}->{novacula_deliveries};
  # The list has the topmost first.
  my ($received) = $pms->{msg}->get_pristine_header('Received');
  return 0 if !defined $received || $received !~ /;([^;]*)\z/s;
  my $date = $1;
  $date =~ s/\s+/ /gs;
  my $time = parse_rfc822_date($date);
  return 0 if !$time;
  my $age = time - $time;
  return $age < DELIVERY_AGE_MAX && $age > -CLOCK_SKEW_MAX;
}

# Mails that SpamAssassin makes for itself at start and to test its rules.
sub _is_constant {
  my ($self, $pms) = @_;
  my $id = $pms->get('Message-Id:raw', '');
  return $self->{main}->{lint_rules} || $id =~ /\@(?:lint_rules|spamassassin_spamd_init)>/;
}

sub _score_of_others {
  my ($self, $pms) = @_;
  my $score = $pms->get_score() || 0;
  foreach my $rule (grep { $_ =~ OWN_RULE } @{$pms->{test_names_hit} || []}) {
    $score -= $pms->{conf}->{scores}->{$rule} || 0;
  }
  return $score;
}

sub _disabled {
  my ($self) = @_;
  return $self->{novacula_disabled} || !$self->{main}->{conf}->{use_novacula};
}

sub _timeout {
  my ($self) = @_;
  return $self->{main}->{conf}->{novacula_timeout};
}

#
# HTTP over the agent's socket, without ever blocking for longer than is said
#

sub _call {
  my ($self, $path, $mail, $fields) = @_;
  # An administrator's setting, no user's.
  my $socket = untaint_var($self->{main}->{conf}->{novacula_socket});
  my $sock = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $socket, Blocking => 0);
  if (!$sock) {
    info("novacula: no agent at %s: %s; mail is scored without it", $socket, $!);
    return;
  }
  my $body = length($$mail) > MAIL_LEN_MAX ? substr($$mail, 0, MAIL_LEN_MAX) : $$mail;
  utf8::encode($body) if utf8::is_utf8($body);
  my $head = "POST $path HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    . "Content-Type: message/rfc822\r\nContent-Length: " . length($body) . "\r\n";
  foreach my $name (sort keys %$fields) {
    my $value = $fields->{$name};
    $head .= "$name: $value\r\n" if $value !~ /[^\x20-\x7e]/;
  }
  return { sock => $sock, unsent => "$head\r\n$body", answer => '', started => time };
}

# Sends and reads what can be sent and read within so many seconds.
sub _finish {
  my ($self, $call, $seconds) = @_;
  my $until = time + $seconds;
  local $SIG{PIPE} = 'IGNORE';
  while (!$call->{done}) {
    my $left = $until - time;
    $left = 0 if $left < 0;
    my $readable = IO::Select->new($call->{sock});
    my $writable = length($call->{unsent}) ? IO::Select->new($call->{sock}) : undef;
    my ($read, $write) = IO::Select->select($readable, $writable, undef, $left);
    last if !($read && @$read) && !($write && @$write);
    if ($write && @$write) {
      my $sent = syswrite($call->{sock}, $call->{unsent}, 262144);
      if (defined $sent) {
        substr($call->{unsent}, 0, $sent) = '';
      } elsif (!$!{EAGAIN} && !$!{EWOULDBLOCK} && !$!{EINTR}) {
        # It may have answered before it read all: that answer is still to be read.
        $call->{unsent} = '';
      }
    }
    if ($read && @$read) {
      my $got = sysread($call->{sock}, $call->{answer}, 16384, length $call->{answer});
      if (defined $got ? $got == 0 : !$!{EAGAIN} && !$!{EWOULDBLOCK} && !$!{EINTR}) {
        $call->{done} = 1;
      } elsif (length($call->{answer}) > ANSWER_LEN_MAX) {
        $call->{done} = 1;
        $call->{error} = 'its answer is too long';
      }
    }
  }
  close delete $call->{sock} if $call->{done} && $call->{sock};
}

# The answer as a hash; undef, and a line in the log, when it is none.
sub _json {
  my ($self, $call) = @_;
  return if !$call->{done};
  if (!$call->{error}) {
    if ($call->{answer} !~ m{\AHTTP/1\.[01] (\d{3})[^\r\n]*\r\n.*?\r\n\r\n(.*)\z}s) {
      $call->{error} = 'it talks no HTTP';
    } else {
      my ($status, $body) = ($1, $2);
      my $value = eval { JSON::PP->new->max_depth(16)->utf8->decode($body) };
      if (ref $value ne 'HASH') {
        $call->{error} = "its answer is no JSON (status $status)";
      } elsif ($status ne '200') {
        $call->{error} = ref $value->{error} ? "status $status" : $value->{error} || "status $status";
      } else {
        return $value;
      }
    }
  }
  $call->{error} =~ s/[^\x20-\x7e]/?/g;
  info("novacula: the agent's answer is not used: %s", substr($call->{error}, 0, 300));
  return;
}

=head1 SEE ALSO

novacula(1), Mail::SpamAssassin::Conf(3)

=cut

1;
