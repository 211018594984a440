#include "client/cli/scan_file.h"

#include <cstdint>
#include <cstdio>

namespace ptychoserve::cli {

absl::StatusOr<std::unique_ptr<CxiScanReader>> OpenScan(const std::string& path,
                                                        const SessionFlags& flags) {
  const bool may_have_optics = !flags.config_file.empty() || flags.wavelength_m ||
                               flags.photon_energy_ev || flags.distance_m || flags.pixel_size_m;
  auto scan =
      CxiScanReader::Open(path, may_have_optics ? CxiOptics::kOptional : CxiOptics::kNeeded);
  if (!scan.ok()) return BadInput(scan.status());
  for (const std::string& note : (*scan)->info().notes) {
    std::fprintf(stderr, "ptychoctl: note: %s: %s\n", path.c_str(), note.c_str());
  }
  return scan;
}

void PrintChanges(const CxiScanReader& scan) {
  const CxiChanges& changes = scan.changes();
  const auto print = [](std::int64_t pixels, const char* what) {
    if (pixels > 0) {
      std::fprintf(stderr, "ptychoctl: note: %lld %s\n", static_cast<long long>(pixels), what);
    }
  };
  print(changes.negative, "pixels with negative counts were sent as 0");
  print(
      changes.untrusted,
      "pixels that are NaN, infinite, or negative or too large integers were sent as not trusted");
}

Json NotesJson(const CxiScanReader& scan) {
  return {{"notes", scan.info().notes},
          {"negative_pixels", scan.changes().negative},
          {"untrusted_pixels", scan.changes().untrusted}};
}

}  // namespace ptychoserve::cli
