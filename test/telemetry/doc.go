// Package telemetry tests module otel with OpenTelemetry's SDK, which no user of that module needs.
package telemetry
