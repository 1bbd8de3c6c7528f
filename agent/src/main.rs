//! t
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let rows = novacula_agent::replay::read_index(a[1].as_ref()).unwrap();
    let plan = novacula_agent::replay::Plan {
        root: a[2].clone().into(),
        seeds: (1..=a[3].parse().unwrap()).collect(),
        protocol: Default::default(),
        rates: Default::default(),
        trust: Default::default(),
    };
    println!("{}", novacula_agent::replay::replay(&rows, &plan, |_| ()).unwrap().to_table());
}
