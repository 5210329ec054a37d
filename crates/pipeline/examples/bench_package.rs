//! Measures packaging beside `tar | zstd` with the same level: throughput and size on a generated tree of about 200 MB.
//!
//! Run with `cargo run --release --package lockstep-pipeline --example bench_package`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use lockstep_manifest::Package;
use lockstep_pipeline::CancelToken;
use lockstep_pipeline::package::{COMPRESSION_LEVEL, PackageFacts, package};

/// Size of the tree.
const TREE_BYTES: usize = 200 * 1024 * 1024;
/// Runs of each program; the fastest counts, because everything else is noise of the machine.
const RUNS: usize = 3;
/// What the bytes of a megabyte mean in a table.
const MEGA: f64 = 1_000_000.0;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("tree");
    let (files, bytes) = generate(&root)?;
    println!("tree: {files} files, {:.0} MB; level {COMPRESSION_LEVEL}; {} CPUs", mega(bytes), cpus());
    println!(
        "{:<24} {:>8} {:>8} {:>8} {:>9} {:>9} {:>7}",
        "program", "wall s", "MB/s", "CPU s", "MB/CPU s", "size MB", "ratio"
    );
    let output = folder.path().join("artifact.tar.zst");
    let ours = fastest(|| pack(&root, &output))?;
    row("lockstep package", ours, bytes, fs::metadata(&output)?.len());
    for threads in [1, cpus()] {
        let name = format!("tar | zstd -{COMPRESSION_LEVEL} -T{threads}");
        match peer(&root, &folder.path().join("peer.tar.zst"), threads) {
            Ok((cost, size)) => row(&name, cost, bytes, size),
            Err(error) => println!("{name}: not measured, {error} (install tar and zstd)"),
        }
    }
    Ok(())
}

fn pack(root: &Path, output: &Path) -> Result<(), Box<dyn Error>> {
    let facts = PackageFacts {
        service: "bench".parse()?,
        changed_seconds: 1_700_000_000,
        builder: "bench".into(),
        tools: BTreeMap::new(),
    };
    package(root, &Package::default(), &facts, output, &CancelToken::new())?;
    Ok(())
}

fn peer(root: &Path, output: &Path, threads: usize) -> Result<(Cost, u64), Box<dyn Error>> {
    let version = Command::new("zstd").arg("--version").output()?;
    if !version.status.success() {
        return Err("zstd does not run".into());
    }
    let script = "tar --sort=name --owner=0 --group=0 --numeric-owner -cf - -C \"$1\" . | zstd -q -f \"-$2\" \"-T$3\" -o \"$4\" && sync \"$4\"";
    let cost = fastest(|| {
        let mut command = Command::new("sh");
        command
            .args(["-c", script, "sh"])
            .arg(root)
            .args([COMPRESSION_LEVEL.to_string(), threads.to_string()]);
        let status = command.arg(output).status()?;
        if status.success() { Ok(()) } else { Err("tar | zstd failed".into()) }
    })?;
    Ok((cost, fs::metadata(output)?.len()))
}

/// How long something took.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    /// CPU time of this process and of the programs it ran: what a busy machine does not distort.
    cpu: f64,
}

fn fastest(mut run: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<Cost, Box<dyn Error>> {
    let mut best = Cost { wall: f64::MAX, cpu: f64::MAX };
    for _ in 0..RUNS {
        let (started, cpu) = (Instant::now(), cpu_seconds()?);
        run()?;
        best.wall = best.wall.min(started.elapsed().as_secs_f64());
        best.cpu = best.cpu.min(cpu_seconds()? - cpu);
    }
    Ok(best)
}

/// Reads the CPU time of this process and its ended children, which Linux counts in hundredths of a second.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/self/stat")?;
    let ticks: Result<Vec<f64>, _> = fields.split_whitespace().skip(11).take(4).map(str::parse).collect();
    Ok(ticks?.iter().sum::<f64>() / 100.0)
}

fn row(name: &str, cost: Cost, bytes: u64, size: u64) {
    let Cost { wall, cpu } = cost;
    let (bytes, size) = (mega(bytes), mega(size));
    println!(
        "{name:<24} {wall:>8.2} {:>8.0} {cpu:>8.2} {:>9.0} {size:>9.1} {:>7.2}",
        bytes / wall,
        bytes / cpu,
        bytes / size
    );
}

#[expect(clippy::cast_precision_loss, reason = "a table shows three digits")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / MEGA
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Makes a tree like that of a service with its dependencies: many small texts, some programs, a few large archives.
fn generate(root: &Path) -> Result<(usize, u64), Box<dyn Error>> {
    let mut random = Random(42);
    let (mut files, mut written) = (0, 0);
    while written < TREE_BYTES {
        let kind = random.below(1_000);
        let content = match kind {
            0..970 => random.text(500 + random.clone().below(20_000)),
            970..999 => random.program(100_000 + random.clone().below(1_000_000)),
            _ => random.noise(500_000 + random.clone().below(2_000_000)),
        };
        let folder = root.join(format!("lib{}/part{}", random.below(40), random.below(20)));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("file{files}")), &content)?;
        files += 1;
        written += content.len();
    }
    Ok((files, written as u64))
}

/// A linear congruential generator: the same tree on every machine.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next()).unwrap_or_default() % limit
    }

    fn text(&mut self, length: usize) -> Vec<u8> {
        const WORDS: [&str; 16] = [
            "return ",
            "const ",
            "order",
            "function ",
            "(",
            ") {\n",
            "}\n",
            "  ",
            "this.",
            "price",
            " = ",
            ";\n",
            "await ",
            "if ",
            "total",
            "// ",
        ];
        let mut text = Vec::with_capacity(length + 16);
        while text.len() < length {
            let word = self.below(WORDS.len());
            text.extend_from_slice(WORDS[word].as_bytes());
            if word == 3 {
                text.extend_from_slice(self.below(100_000).to_string().as_bytes());
            }
        }
        text
    }

    /// Instructions of eight bytes from a small set, some with an operand, like machine code.
    fn program(&mut self, length: usize) -> Vec<u8> {
        let mut program = Vec::with_capacity(length + 8);
        while program.len() < length {
            let mut instruction = (self.next() % 200).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
            if self.below(3) == 0 {
                instruction[6..].copy_from_slice(&self.next().to_le_bytes()[..2]);
            }
            program.extend_from_slice(&instruction);
        }
        program
    }

    fn noise(&mut self, length: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.next().to_le_bytes()[1]).take(length).collect()
    }
}
