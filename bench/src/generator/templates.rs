//! The recorded events, read once.

use std::sync::LazyLock;

use super::template::{Metric, Template};

pub static TEMPLATES: LazyLock<Templates> = LazyLock::new(Templates::read);

#[derive(Debug)]
pub struct Templates {
    /// What every application begins with, in Spark's order.
    pub beginning: [Template; 6],
    pub application_end: Template,
    pub sql_execution_start: Template,
    pub sql_adaptive_update: Template,
    pub driver_accum_updates: Template,
    pub sql_execution_end: Template,
    pub task_start: Template,
    pub job_end: Template,
    pub scan: Stage,
    pub shuffle: Stage,
}

/// The events of a job of one stage.
#[derive(Debug)]
pub struct Stage {
    pub job_start: Template,
    pub submitted: Template,
    /// Spark leaves metrics of zero out, so the ends of tasks differ in their members.
    pub task_ends: Vec<TaskEnd>,
    pub completed: Template,
}

#[derive(Debug)]
pub struct TaskEnd {
    /// How many of 1,000 tasks end so.
    pub share: u64,
    /// The times in whole milliseconds that are not zero.
    pub times: &'static [Metric],
    pub template: Template,
}

impl TaskEnd {
    fn new(share: u64, times: &'static [Metric], text: &'static str) -> Self {
        Self { share, times, template: Template::new(text) }
    }
}

impl Templates {
    fn read() -> Self {
        use Metric::{DeserializeTime, GcTime, RunTime, SerializeTime};
        Self {
            beginning: [
                Template::new(include_str!("../../templates/log_start.json")),
                Template::new(include_str!("../../templates/resource_profile_added.json")),
                Template::new(include_str!("../../templates/executor_added.json")),
                Template::new(include_str!("../../templates/block_manager_added.json")),
                Template::new(include_str!("../../templates/environment_update.json")),
                Template::new(include_str!("../../templates/application_start.json")),
            ],
            application_end: Template::new(include_str!("../../templates/application_end.json")),
            sql_execution_start: Template::new(include_str!("../../templates/sql_execution_start.json")),
            sql_adaptive_update: Template::new(include_str!("../../templates/sql_adaptive_update.json")),
            driver_accum_updates: Template::new(include_str!("../../templates/driver_accum_updates.json")),
            sql_execution_end: Template::new(include_str!("../../templates/sql_execution_end.json")),
            task_start: Template::new(include_str!("../../templates/task_start.json")),
            job_end: Template::new(include_str!("../../templates/job_end.json")),
            scan: Stage {
                job_start: Template::new(include_str!("../../templates/scan_job_start.json")),
                submitted: Template::new(include_str!("../../templates/scan_stage_submitted.json")),
                task_ends: vec![
                    TaskEnd::new(770, &[], include_str!("../../templates/scan_task_end.json")),
                    TaskEnd::new(
                        155,
                        &[DeserializeTime],
                        include_str!("../../templates/scan_task_end_slow_start.json"),
                    ),
                    TaskEnd::new(60, &[RunTime], include_str!("../../templates/scan_task_end_long.json")),
                    TaskEnd::new(
                        15,
                        &[GcTime, SerializeTime],
                        include_str!("../../templates/scan_task_end_collected.json"),
                    ),
                ],
                completed: Template::new(include_str!("../../templates/scan_stage_completed.json")),
            },
            shuffle: Stage {
                job_start: Template::new(include_str!("../../templates/shuffle_job_start.json")),
                submitted: Template::new(include_str!("../../templates/shuffle_stage_submitted.json")),
                task_ends: vec![TaskEnd::new(
                    1000,
                    &[DeserializeTime, RunTime, GcTime, SerializeTime],
                    include_str!("../../templates/shuffle_task_end.json"),
                )],
                completed: Template::new(include_str!("../../templates/shuffle_stage_completed.json")),
            },
        }
    }
}
