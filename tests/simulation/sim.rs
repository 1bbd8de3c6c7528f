//! `sim`: the simulator by hand, for figures. Each command prints what docs/measurements.md
//! quotes; `--seed` replays a run.

use std::time::Instant;

use clap::{Parser, Subcommand};
use novacula_catalog::Time;
use novacula_tests::simulation::costs::costs;
use novacula_tests::simulation::deceit;
use novacula_tests::simulation::eclipse::table;
use novacula_tests::simulation::flood::{Riding, Scale, flood, ride};
use novacula_tests::simulation::hostile::serve;
use novacula_tests::simulation::scenario::{
    churn, crash_a_fifth, flow, kill_two, options, partition, trust_each_other,
};
use novacula_tests::simulation::society::Size;
use novacula_tests::simulation::{Faults, Options, World};

#[derive(Parser)]
struct Arguments {
    /// Decides everything.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Nodes, each a site of its own.
    #[arg(long, default_value_t = 200)]
    sites: usize,
    /// Mails delivered.
    #[arg(long, default_value_t = 1_000)]
    mails: usize,
    /// Deadline of a question, in milliseconds.
    #[arg(long, default_value_t = 150)]
    deadline: u64,
    /// How long to go on after the mail, in seconds: what was said is offered again after 900.
    #[arg(long, default_value_t = 1020)]
    after: u64,
    /// Begin so many hours later in the week (flow): at 0 keys under both weekly salts are asked for,
    /// at 60 under one.
    #[arg(long, default_value_t = 0)]
    later: u64,
    /// Share of the others that each site trusts, in `flow`.
    #[arg(long, default_value_t = 0.0)]
    trusting: f64,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Copy)]
enum What {
    /// Bytes, keys and requests a mail; recall beside a global table.
    Flow,
    /// What one mail costs by the size of the network, records against whole statements.
    Costs,
    /// Observations that one node serves in a second.
    Serve,
    /// A fifth crashes at once.
    Crash,
    /// Half of all come and go in an hour.
    Churn,
    /// Two halves cut for five minutes.
    Partition,
    /// Two of the sites killed while reports flow, a hundred times.
    Kill,
    /// Trust, and who lies.
    Deceit,
    /// Fresh identities without a vouch in 1 and 500 networks.
    Strangers,
    /// Some flood, with and without quotas.
    Flood,
    /// A fifth asks and does not answer.
    Ride,
    /// Sites that hide what they hold, with places as they come and drawn so many times.
    Eclipse {
        /// Identities drawn by each.
        #[arg(long, default_value_t = 4_000)]
        draws: usize,
    },
    /// Recall of honest sites by the places that introduced sites need.
    Places,
}

fn main() {
    let arguments = Arguments::parse();
    let Arguments { seed, sites, mails, deadline, after, later, trusting, what } = arguments;
    println!("seed {seed}, {sites} sites");
    let size = if sites >= 1_000 { Size::WHOLE } else { Size::REDUCED };
    let clock = Instant::now();
    match what {
        What::Flow => {
            let options = options(seed, sites, Faults::none());
            let start = Time(options.start.0 + later * 3600);
            let mut world = World::new(Options { start, ..options });
            world.start_acquainted();
            println!("started after {:.1} s", clock.elapsed().as_secs_f64());
            if trusting > 0.0 {
                trust_each_other(&mut world, trusting);
            }
            world.run_for(130_000);
            println!("{:#?}", flow(&mut world, mails, deadline, after * 1000));
        }
        What::Costs => {
            for sites in [8, 50, 200, 1_000, 10_000, 100_000] {
                println!("{sites:>7} sites: {:?}", costs(sites, seed));
            }
        }
        What::Serve => println!("{:?}", serve(mails)),
        What::Crash => println!("{:?}", crash_a_fifth(seed, sites, mails)),
        What::Churn => println!("{:?}", churn(seed, sites, mails, 0.5, 60)),
        What::Partition => println!("{:?}", partition(seed, sites, 300_000, Faults::all()).1),
        What::Places => {
            for places in [0, 3, 4, 6, 8, 10, 15, 20] {
                println!("{places}: {:?}", deceit::baseline(Size::REDUCED, seed, Some(places)));
            }
        }
        What::Eclipse { draws } => println!("{}", table(size, draws, seed)),
        What::Deceit => {
            deceit::table(size, seed).for_each(|row| println!("{row}"));
        }
        What::Strangers => {
            let many = if sites >= 1_000 { 10_000 } else { 1_000 };
            for networks in [500, 1] {
                println!("{networks} networks: {:?}", deceit::sybils(size, seed, many, networks));
            }
        }
        What::Flood => {
            let whole = sites >= 1_000;
            let scale = if whole { Scale::WHOLE } else { Scale::REDUCED };
            for quotas in [true, false] {
                println!("quotas {quotas}: {:#?}", flood(seed, scale, quotas));
            }
        }
        What::Ride => {
            let scale = if sites >= 100 { Riding::WHOLE } else { Riding::REDUCED };
            for shared in [false, true] {
                for (rides, much) in [(true, false), (true, true), (false, true)] {
                    let ridden = ride(seed, scale, (rides, much, shared));
                    println!("rides {rides}, asks {much}, shares {shared}: {ridden:#?}");
                }
            }
        }
        What::Kill => {
            for run in 0..100 {
                let faults = if run % 2 == 0 { Faults::none() } else { Faults::all() };
                println!("run {run}: {:?}", kill_two(seed * 1000 + run, sites, faults));
            }
        }
    }
    println!("took {:.1} s", clock.elapsed().as_secs_f64());
}
