import { init } from "/assets/redoc/redoc.standalone.js";

init("/openapi.json", { disableTelemetry: true }, document.getElementById("redoc"));
