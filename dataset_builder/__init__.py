"""Raw animation -> stories: the build in stages, the public release, and the Parquet that plain `load_dataset` opens.

build.py, build_settings.py, stages/, engine/   a build and how it runs;  build_command.py, build_management.py the verb
sources/ scan/ segments.py script/ annotate/ references/ audio/ quality/   the work of the stages, a room each
release/, ingest_command.py                     the paper's release without its videos
package.py, package_media.py, package_writer.py, staged_media.py, builder.py   the dataset
"""
