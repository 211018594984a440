#!/usr/bin/env bash
# Checks the dashboard against Grafana's types of a dashboard, of its panels and of their options: unknown
# and wrong fields. Needs npm with its registry, so it is run by hand. Usage: check_grafana_schema.sh
set -euo pipefail
dashboard=$(realpath "$(dirname "$0")/../../deploy/grafana/dashboard.json")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# Without what the package itself depends on: types alone are looked at.
npm install --silent --no-audit --no-fund typescript@5 > /dev/null
npm pack --silent @grafana/schema@13 | xargs tar -xzf

cat > types.ts << 'TS'
import type * as grafana from "./package/dist/types/raw/dashboard/x/types.gen";
import type * as common from "./package/dist/types/common/common.gen";
import type * as heatmap from "./package/dist/types/raw/composable/heatmap/panelcfg/x/types.gen";
import type * as stat from "./package/dist/types/raw/composable/stat/panelcfg/x/types.gen";
import type * as timeseries from "./package/dist/types/raw/composable/timeseries/panelcfg/x/types.gen";

// As JSON has it: enumerations by their values, and without what Grafana fills in.
type Given<T> = T extends string ? `${T}` : T extends (infer E)[] ? Given<E>[]
  : T extends object ? {[K in keyof T]?: Given<T[K]>} : T;
// Of Prometheus' plugin, and of its variables: Grafana has no types of them in this package.
type Query = {expr: string; refId: string; legendFormat?: string; datasource?: common.DataSourceRef;
              instant?: boolean; range?: boolean; format?: "time_series" | "table" | "heatmap";
              editorMode?: "code" | "builder"};
type Variable = Given<grafana.VariableModel> & {definition?: string};
type FieldConfig<Custom> = {defaults: Omit<Given<grafana.FieldConfig>, "custom"> & {custom?: Given<Custom>};
                            overrides: Given<grafana.FieldConfigSource["overrides"]>};
type PanelOf<Type, Options, Custom> = Omit<Given<grafana.Panel>, "type" | "options" | "fieldConfig" | "targets">
  & {type: Type; options: Given<Options>; fieldConfig: FieldConfig<Custom>; targets: Query[]};
type Panel = PanelOf<"timeseries", timeseries.Options, timeseries.FieldConfig> | PanelOf<"stat", stat.Options, {}>
  | PanelOf<"heatmap", heatmap.Options, heatmap.FieldConfig> | (Given<grafana.RowPanel> & {type: "row"});
export type Dashboard = Omit<Given<grafana.Dashboard>, "panels" | "templating">
  & {panels: Panel[]; templating: {list: Variable[]}};
TS
{ echo 'import type {Dashboard} from "./types"; export const dashboard: Dashboard ='; cat "$dashboard"; } > checked.ts
npx tsc --noEmit --strict --module esnext --moduleResolution bundler --skipLibCheck checked.ts
echo "dashboard.json: $(grep -c '"gridPos"' "$dashboard") panels"
