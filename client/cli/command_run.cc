#include <memory>

#include "client/cli/command.h"
#include "client/cli/run_scan.h"

namespace ptychoserve::cli {
namespace {

constexpr char kRunFooter[] = R"(
Examples:
  ptychoctl run scan.cxi --out result.cxi
  ptychoctl run scan.cxi --probe scan.cxi:/entry_1/instrument_1/initial_probe \
      --schedule dm:40,ml_grad:20 --out result.npz --json
  ptychoctl run scan.cxi --rate 500 --streams 4 --encoding bslz4
  ptychoctl run scan.cxi --chunks 16 --iterations-between 5 --shuffle --duplicate 0.05

The .npz holds obj (canvas), probe, coverage, and pos: row and column of each frame's window
corner in obj, for all frames of the scan in file order. Pictures are written beside --out.
With --json, stdout is one line: the session's final state, its metrics, what was sent, and for a
simulated scan the error against the known object ("truth").
Ctrl-C stops the session and still fetches its last snapshot.)";

}  // namespace

void AddRun(CLI::App& app, Context& context) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command =
      AddCommand(app, context, "run", "Reconstruct a scan file: create, stream, wait, fetch",
                 kRunFooter, [options, &context] { return RunScan(*options, context); });
  AddServerOption(command, context);
  command->add_option("scan", options->scan_path, "Scan to stream, CXI")->required();
  command->add_option("--out,-o", options->outputs,
                      "Where to write the result: .cxi, .npz or .png; repeatable");
  command->add_option("--pictures", options->pictures, "Directory for the pictures");
  command->add_flag("--keep", options->keep, "Do not delete the session afterwards");
  command->add_flag("--quiet,-q", options->quiet, "No progress");
  command->add_option("--poll", options->poll_ms,
                      "Ask for the state every so many milliseconds instead of watching it");
  AddSessionFlags(command, options->session);
  AddFeedFlags(command, options->feed);
  const std::string group = "Arrival and faults";
  command->add_option("--chunks", options->chunks, "Stream the scan in so many parts")
      ->capture_default_str()
      ->group(group);
  command
      ->add_option("--iterations-between", options->iterations_between,
                   "Iterations to wait for after each part")
      ->group(group);
  command->add_flag("--shuffle", options->faults.shuffle, "Send the frames in random order")
      ->group(group);
  command->add_option("--drop", options->faults.drop, "Fraction of the frames that is never sent")
      ->group(group);
  command
      ->add_flag("--declare-dropped", options->declare_dropped,
                 "Declare the frames of --drop lost, so that nobody waits for them")
      ->group(group);
  command
      ->add_option("--duplicate", options->faults.duplicate,
                   "Fraction of the frames that is sent twice")
      ->group(group);
  command->add_option("--late", options->faults.late, "Frames that are held back to the end")
      ->group(group);
  command->add_option("--seed", options->faults.seed, "Of the random choices above")
      ->capture_default_str()
      ->group(group);
}

}  // namespace ptychoserve::cli
