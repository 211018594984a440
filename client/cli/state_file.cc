#include "client/cli/state_file.h"

#include <fstream>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/output.h"
#include "engine/base/status_macros.h"
#include "engine/io/record_file.h"
#include "engine/io/replaced_file.h"
#include "ptychoserve/state/v1/state.pb.h"

namespace ptychoserve::cli {

absl::StatusOr<std::int64_t> SaveState(client::Client& client, const std::string& session,
                                       const client::ExportOptions& options,
                                       const std::string& path) {
  ReplacedFile file(path);
  const auto failed = [&] {
    return BadInput(absl::InvalidArgumentError(absl::StrCat("cannot write ", path)));
  };
  std::ofstream out(file.part(), std::ios::binary | std::ios::trunc);
  if (!out) return failed();
  std::int64_t bytes = 0;
  PS_RETURN_IF_ERROR(client.ExportState(session, options, [&](std::string_view part) {
    bytes += static_cast<std::int64_t>(part.size());
    out.write(part.data(), static_cast<std::streamsize>(part.size()));
    return out ? absl::OkStatus() : failed();
  }));
  out.close();
  if (!out) return failed();
  PS_RETURN_IF_ERROR(BadInput(file.Commit()));
  return bytes;
}

absl::StatusOr<v1::Session> LoadState(client::Client& client, const v1::ImportStart& start,
                                      const std::string& path) {
  const auto failed = [&] {
    return BadInput(absl::InvalidArgumentError(absl::StrCat("cannot read ", path)));
  };
  std::ifstream in(path, std::ios::binary);
  if (!in) return failed();
  return client.ImportState(start, [&]() -> absl::StatusOr<std::string> {
    std::string part(client::Client::kImportPartBytes, '\0');
    in.read(part.data(), static_cast<std::streamsize>(part.size()));
    if (in.bad()) return failed();
    part.resize(static_cast<std::size_t>(in.gcount()));
    return part;
  });
}

absl::StatusOr<v1::SessionConfig> ConfigOfState(const std::string& path) {
  const auto is_none = [&] {
    return BadInput(absl::InvalidArgumentError(absl::StrCat(path, " is not a state file")));
  };
  auto reader = RecordReader::Open(path);
  if (absl::IsNotFound(reader.status())) return BadInput(reader.status());
  if (!reader.ok()) return is_none();
  const auto record = reader->Next();  // The manifest comes first.
  state::v1::Manifest manifest;
  if (!record.ok() || !*record ||
      !manifest.ParseFromArray((*record)->payload.data(),
                               static_cast<int>((*record)->payload.size())) ||
      !manifest.has_config()) {
    return is_none();
  }
  return std::move(*manifest.mutable_config());
}

}  // namespace ptychoserve::cli
