#include "server/yaml_config.h"

#include <yaml-cpp/yaml.h>

#include "absl/strings/str_cat.h"

namespace ptychoserve::server {
namespace {

CLI::ConfigItem ItemOf(const YAML::Node& key, const YAML::Node& value) {
  CLI::ConfigItem item;
  item.name = key.as<std::string>();
  if (value.IsScalar() && value.Scalar().empty()) {
    // Of a switch, that would be taken for true.
    throw CLI::ConfigError(absl::StrCat("line ", key.Mark().line + 1, ": ", item.name,
                                        ": no value; leave the line out instead"));
  }
  if (value.IsScalar()) {
    item.inputs = {value.Scalar()};
  } else if (value.IsSequence()) {
    item.inputs = value.as<std::vector<std::string>>();
  } else {
    throw CLI::ConfigError(absl::StrCat("line ", key.Mark().line + 1, ": ", item.name,
                                        ": not a value, nor a list of values"));
  }
  return item;
}

}  // namespace

std::vector<CLI::ConfigItem> YamlConfig::from_config(std::istream& input) const {
  std::vector<CLI::ConfigItem> found;
  try {
    const YAML::Node root = YAML::Load(input);
    if (root.IsNull()) return found;
    if (!root.IsMap()) throw CLI::ConfigError("not a list of 'name: value'");
    for (const auto& entry : root) found.push_back(ItemOf(entry.first, entry.second));
  } catch (const YAML::Exception& error) {
    throw CLI::ConfigError(absl::StrCat("not YAML: ", error.what()));
  }
  return found;
}

std::string YamlConfig::to_config(const CLI::App* app, bool default_also,
                                  bool /*write_description*/, std::string /*prefix*/) const {
  YAML::Emitter out;
  out << YAML::BeginMap;
  for (const CLI::Option* option : app->get_options()) {
    if (!option->get_configurable() || option->get_lnames().empty()) continue;
    if (option->count() == 0 && !default_also) continue;
    std::vector<std::string> values =
        option->count() > 0 ? option->results() : std::vector{option->get_default_str()};
    if (values == std::vector<std::string>{""}) {
      if (option->get_expected_min() > 0) continue;  // Nothing, which a file says by its absence.
      values = {"false"};
    }
    out << YAML::Key << option->get_lnames().front() << YAML::Value;
    if (values.size() == 1) {
      out << values.front();
    } else {
      out << YAML::Flow << values;
    }
  }
  out << YAML::EndMap;
  return absl::StrCat(out.c_str(), "\n");
}

}  // namespace ptychoserve::server
