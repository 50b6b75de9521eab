//! Loco: the routes of axum, added in the hook `after_routes`.

#[path = "../frameworks/uploads.rs"]
pub mod uploads;

use std::{error::Error, future::Future};

use async_trait::async_trait;
use axum::{Router, routing::post};
use loco_rs::{
    app::{AppContext, Hooks},
    bgworker::Queue,
    boot::{BootResult, StartMode, create_app, create_context, run_app},
    config::Config,
    controller::AppRoutes,
    environment::Environment,
    task::Tasks,
};
use tokio::net::TcpListener;
use tower_aliyun_oss::{CallbackReply, OssUploads, VerifiedCallback};

use uploads::authorize;

async fn on_upload(callback: VerifiedCallback) -> CallbackReply {
    println!(
        "{:?} by user {:?}",
        callback.event(),
        callback.claims::<u64>()
    );
    CallbackReply::ok()
}

struct App;

#[async_trait]
impl Hooks for App {
    async fn after_routes(router: Router, ctx: &AppContext) -> loco_rs::Result<Router> {
        let uploads = ctx.shared_store.get::<OssUploads>();
        let uploads =
            uploads.ok_or_else(|| loco_rs::Error::string("uploads are not configured"))?;
        Ok(router
            .route_service("/oss/policy", uploads.policy_service(authorize))
            .route(
                "/oss/callback",
                post(on_upload).route_layer(uploads.callback_layer()),
            ))
    }

    // What follows is an application of Loco without anything else.
    fn app_name() -> &'static str {
        env!("CARGO_CRATE_NAME")
    }

    async fn boot(
        mode: StartMode,
        environment: &Environment,
        config: Config,
    ) -> loco_rs::Result<BootResult> {
        create_app::<Self>(mode, environment, config).await
    }

    fn routes(_: &AppContext) -> AppRoutes {
        AppRoutes::with_default_routes()
    }

    async fn connect_workers(_: &AppContext, _: &Queue) -> loco_rs::Result<()> {
        Ok(())
    }

    fn register_tasks(_: &mut Tasks) {}
}

/// Serves until `stop` completes. In an application, `loco_rs::cli::main::<App>()` does this.
pub async fn serve(
    listener: TcpListener,
    uploads: &OssUploads,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = serde_json::from_value(serde_json::json!({
        "logger": { "enable": false, "level": "info", "format": "compact" },
        "server": { "port": 0, "host": "http://localhost" },
        "workers": { "mode": "ForegroundBlocking" },
    }))?;
    let context = create_context::<App>(&Environment::Production, config).await?;
    context.shared_store.insert(uploads.clone());
    let app = run_app::<App>(&StartMode::ServerOnly, context).await?;
    let router = app.router.ok_or("Loco created no router")?;
    axum::serve(listener, router)
        .with_graceful_shutdown(stop)
        .await?;
    Ok(())
}
