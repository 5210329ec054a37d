//! What every driver must do.

use crate::fixture::*;

#[tokio::test]
async fn an_instance_becomes_healthy_and_stops() {
    let fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&[]).await;
    assert!(runs(pid_of(&instance)));
    fixture.stop(&instance.id).await;
    assert!(fixture.processes().is_empty());
}
