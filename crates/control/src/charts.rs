//! The history that charts are drawn from: a row of figures of every service each ten seconds.
//!
//! It is no part of the journal and of no backup: when it is lost, charts begin anew and nothing else changes. Who cannot write it goes on
//! without it, and says so.

mod figures;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lockstep_api::Problem;
use lockstep_api::types::{ChartPoint, ChartSeries, ChartsView};
use lockstep_domain::{EnvironmentName, ServiceName, Timestamp};
use lockstep_series::{Bounds, Extent, Query, SeriesKey, Store};

use self::figures::Counted;
use crate::{Control, environments, internal, lock, services};

/// How often a row is kept.
const EVERY: Duration = Duration::from_secs(10);
/// The folder of the history, in the data folder.
const FOLDER: &str = "series";
/// Points of a curve for whoever does not say: as many as a page is wide.
const POINTS: usize = 300;

/// The history.
#[derive(Debug, Default)]
pub(crate) struct Charts {
    store: Mutex<Option<Store>>,
}

impl Charts {
    /// Opens the history; without one where it cannot be opened.
    pub(crate) fn open(data: &Path) -> Self {
        let opened = Store::open(&data.join(FOLDER), Bounds::default());
        let opened = opened.inspect_err(|error| tracing::warn!(%error, "there will be no charts"));
        let store = opened.ok().map(|(store, problems)| {
            problems.iter().for_each(|problem| tracing::warn!(%problem, "the history of charts"));
            store
        });
        Self { store: Mutex::new(store) }
    }

    /// Keeps a row; tells whether it is kept.
    fn keep(&self, at: Timestamp, row: &[(SeriesKey, f64)]) -> Result<(), String> {
        let mut store = lock(&self.store);
        let Some(store) = store.as_mut() else { return Ok(()) };
        let appended = store.append(at.0, row).map_err(|error| error.to_string())?;
        appended.problems.iter().for_each(|problem| tracing::warn!(%problem, "the history of charts"));
        Ok(())
    }

    /// Returns the bytes that it has on disk; nothing where there is none.
    pub(crate) fn bytes(&self) -> Option<u64> {
        lock(&self.store).as_ref().map(Store::bytes)
    }
}

impl Control {
    /// Keeps rows again and again.
    pub(crate) async fn keep_charts(self: Arc<Self>) {
        let (mut before, mut failing) = (None::<(Instant, Counted)>, false);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            let (used, _) = self.usage().await;
            let now = Counted::look(&self, &used);
            let row = now.row(before.as_ref().map(|(at, counted)| (at.elapsed(), counted)));
            before = Some((Instant::now(), now));
            let kept = tokio::task::block_in_place(|| self.charts.keep(self.ledger.now(), &row));
            match kept {
                Err(error) if !std::mem::replace(&mut failing, true) => {
                    tracing::warn!(error, "a row of the history of charts was not kept");
                }
                Ok(()) if std::mem::take(&mut failing) => {
                    tracing::info!("the history of charts is kept again");
                }
                _ => {}
            }
        }
    }

    /// Returns curves of figures of a service: of the last `within_ms`, with so many points at most.
    ///
    /// # Errors
    /// When there is no such environment or service.
    pub fn charts(
        &self,
        environment: &EnvironmentName,
        service: &ServiceName,
        figures: &[String],
        within_ms: u64,
        points: Option<usize>,
    ) -> Result<ChartsView, Problem> {
        let (now, world) = self.ledger.look();
        environments::find(&world, environment)?;
        let service = services::find(&world, service)?.name.clone();
        let query = Query {
            prefix: format!("{environment}/{service}/"),
            figures: figures.to_vec(),
            from_ms: now.0.saturating_sub(within_ms),
            until_ms: now.0.saturating_add(1),
            points: points.unwrap_or(POINTS),
        };
        let store = lock(&self.charts.store);
        let answer = store.as_ref().map(|store| store.read(&query));
        drop(store);
        let answer = answer.ok_or_else(|| {
            internal("the history of charts could not be opened; the log of the server says why")
        })?;
        let series = answer.series.into_iter().map(|(key, points)| ChartSeries {
            version: key.version().map(str::to_owned),
            figure: key.figure().to_owned(),
            unit: figures::unit(key.figure()).to_owned(),
            points: points
                .into_iter()
                .map(|point| ChartPoint {
                    at: Timestamp(point.at_ms),
                    average: point.average,
                    largest: point.largest,
                })
                .collect(),
        });
        Ok(ChartsView {
            environment: environment.clone(),
            service,
            step_ms: answer.step_ms,
            whole: answer.extent == Extent::Whole,
            series: series.collect(),
        })
    }
}
